"""A score transformer of two small blocks, and inputs for it."""

import torch

from robolearn.policies.networks.score_transformer import ScoreTransformer

B, D, DG, A = 2, 6, 4, 3


def network(obs_horizon=3, goal_horizon=2, action_horizon=1, executed_actions=True, seed=0):
    torch.manual_seed(seed)
    net = ScoreTransformer(
        D, DG, A, obs_horizon, goal_horizon, action_horizon, executed_actions, 24, 2, 2, 0.0, 0.0
    ).eval()  # fmt: skip
    with torch.no_grad():  # weights large enough for inputs to matter; a fresh GPT head hardly looks at them
        for parameter in net.parameters():
            parameter.normal_(0.0, 0.3)
    return net


def inputs(net, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    w, g = net.obs_horizon, net.goal_horizon
    known = torch.ones(B, w - 1, dtype=torch.bool)
    return [draw(B, w, D), draw(B, g, DG) if g else None, draw(B, w - 1, A), known], draw(B, net.targets, A)
