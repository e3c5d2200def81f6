import numpy as np
import pytest
import torch
from tiny import ACTION, OBJECTS, STATE, tiny_policy

from robolearn.core.feature import features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.policies.bc import BcConfig
from robolearn.training.data import WindowBatches

WINDOW, STEPS = 5, 8
CONFIG = BcConfig(obs_horizon=WINDOW, action_horizon=2, hidden_dim=8, layers=1)


@pytest.fixture
def episode(tmp_path):
    """A dataset of one episode, and its values."""
    rng = np.random.default_rng(0)
    values = {f.name: rng.normal(size=(STEPS, *f.shape)).astype(np.float32) for f in (STATE, OBJECTS, ACTION)}
    with DatasetWriter.create(tmp_path / "d.zarr", features([STATE, OBJECTS, ACTION]), 20.0) as writer:
        writer.start_episode()
        for step in range(STEPS):
            writer.append(step / 20, {name: array[step] for name, array in values.items()})
        writer.commit({"task": "t"})
    return Dataset(tmp_path / "d.zarr"), values


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_acting_at_a_step_has_the_context_that_training_has_there(episode, step):
    """Of W = 5 with e executed and - before the episode began:

    step 1   - - - e    step 3   - e e e    step 4   e e e e    step 6   e e e e, the two before them too long ago
    """
    dataset, values = episode
    policy = tiny_policy("bc", CONFIG)
    batch = WindowBatches(dataset, policy.spec, None, STEPS, 0).at(0)
    row = (batch[STATE.name][:, -1] == torch.from_numpy(values[STATE.name][step])).all(dim=1)
    trained = policy.context({name: value[row] for name, value in batch.items()})

    acted = []
    policy.sample = lambda context, generator: acted.append(context) or torch.zeros(1, 2, 3)
    window = np.arange(step - WINDOW + 1, step + 1).clip(0)
    policy.predict_chunk(
        {name: values[name][window] for name in (STATE.name, OBJECTS.name)}, executed=values[ACTION.name][:step]
    )

    executed = policy.normalizer.normalize(ACTION.name, values[ACTION.name])[window[:-1]]
    known = np.arange(step - WINDOW + 1, step) >= 0
    for context in (trained, *acted):
        assert np.array_equal(context.known[0], known)
        np.testing.assert_allclose(context.executed[0], executed * known[:, None], atol=1e-6)
    np.testing.assert_allclose(acted[0].observation, trained.observation, atol=1e-6)
