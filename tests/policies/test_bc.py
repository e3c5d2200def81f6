import numpy as np
import torch
from tiny import ACTION, OBJECTS, STATE, tiny_observation, tiny_policy

from robolearn.policies.bc import BcConfig


def test_bc_is_deterministic_and_fits_a_linear_rule():
    torch.manual_seed(0)
    policy = tiny_policy("bc", BcConfig(obs_horizon=2, action_horizon=3, hidden_dim=32, layers=1))
    matrix = torch.randn(4, 3) * 0.3
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for _ in range(300):
        state = torch.randn(64, 2, 4)
        action = (state[:, -1:] @ matrix).expand(-1, 4, -1)
        batch = {STATE.name: state, OBJECTS.name: torch.zeros(64, 2, 2), ACTION.name: action}
        loss = policy.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.01
    observation = tiny_observation(2)
    assert np.array_equal(policy.predict_chunk(observation), policy.predict_chunk(observation))
