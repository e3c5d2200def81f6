"""Batches as tensors: images, quarantine, several processes."""

import numpy as np
import pytest
import torch
from world import write_dataset

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature, features
from robolearn.datasets.loader import Source
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.bc import BcConfig
from robolearn.training.config import TrainConfig
from robolearn.training.data import WindowBatches
from robolearn.training.trainer import Trainer

CAMERA, DEPTH = "observation.images.front", "observation.depth.front"


def spec_of(dataset: Dataset, *observations: str, goal_horizon: int = 0) -> PolicySpec:
    """Two observations and three actions; where there is a goal, of the same features."""
    chosen = features([dataset.features[name] for name in observations])
    goals = chosen if goal_horizon else {}
    return PolicySpec(chosen, dataset.features["action"], 2, 3, dataset.fps, goals, goal_horizon)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_and_depth_come_as_tensors_with_their_goals(tmp_path, workers):
    declared = features(
        [Feature(CAMERA, (8, 10, 3), "uint8", "image"), Feature(DEPTH, (8, 10), "uint16", "depth"),
         Feature("action", (1,), kind="action")]
    )  # fmt: skip
    with DatasetWriter.create(tmp_path / "d.zarr", declared, 10.0, image_codec="png", durable=False) as writer:
        writer.start_episode()
        for step in range(6):
            colour, depth = np.full((8, 10, 3), step, np.uint8), np.full((8, 10), 60000 + step, np.uint16)
            writer.append(step / 10, {CAMERA: colour, DEPTH: depth, "action": np.array([step], np.float32)})
        writer.commit({"task": "t"})
    dataset = Dataset(tmp_path / "d.zarr")
    batches = WindowBatches(dataset, spec_of(dataset, CAMERA, DEPTH, goal_horizon=1), [0], 6, 0, workers=workers)
    batch = batches.at(0)
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
        CAMERA: ((6, 2, 8, 10, 3), torch.uint8),
        DEPTH: ((6, 2, 8, 10), torch.int32),
        "action": ((6, 4, 1), torch.float32),
        "action.is_pad": ((6, 4), torch.bool),
        f"goal.{CAMERA}": ((6, 1, 8, 10, 3), torch.uint8),
        f"goal.{DEPTH}": ((6, 1, 8, 10), torch.int32),
    }
    now = batch["action"][:, 1, 0]
    expected = torch.stack([(now + offset < 0) | (now + offset > 5) for offset in (-1, 0, 1, 2)], 1)
    assert torch.equal(batch["action.is_pad"], expected)
    assert torch.equal(batch[CAMERA][:, 1, 0, 0, 0].float(), now)
    assert torch.equal(batch[DEPTH][:, 1, 0, 0].float(), now + 60000)
    assert (batch[f"goal.{CAMERA}"][:, 0, 0, 0, 0].float() >= (now + 1).clamp(max=5)).all()
    batches.close()


def test_a_tensor_keeps_its_batch(tmp_path):
    dataset = Dataset(write_dataset(tmp_path / "d.zarr"))
    batches = WindowBatches(dataset, spec_of(dataset, "observation.state"), None, 8, 0)
    kept = [batches.at(step)["action"] for step in range(10)]
    assert all(torch.equal(value, batches.at(step)["action"]) for step, value in enumerate(kept))


def test_processes_share_out_each_batch_and_datasets_can_be_mixed(tmp_path):
    datasets = [Dataset(write_dataset(tmp_path / f"{name}.zarr", episodes=2)) for name in "ab"]
    sources = [Source(dataset, weight=weight) for dataset, weight in zip(datasets, (1, 3), strict=True)]
    wanted = spec_of(datasets[0], "observation.state", goal_horizon=1)
    whole = WindowBatches(sources, wanted, None, 8, 5).at(3)
    halves = [WindowBatches(sources, wanted, None, 8, 5, rank=rank, world_size=2).at(3) for rank in range(2)]
    assert all(torch.equal(torch.stack([h[name] for h in halves], 1).flatten(0, 1), whole[name]) for name in whole)


def test_training_leaves_episodes_in_quarantine_alone(tmp_path):
    path = write_dataset(tmp_path / "d.zarr", episodes=5)

    def trainer(name: str, **options: object) -> Trainer:
        config = TrainConfig(path, tmp_path / name, steps=1, batch_size=8, val_ratio=0.25, num_threads=1, **options)
        return Trainer(config, "bc", BcConfig(hidden_dim=8, layers=1), quiet=True)

    everything = trainer("all")
    state = Dataset(path).array("observation.state")
    worst = int(np.argmax(state[:, 0])) // 25
    set_mask(path, QUARANTINE, [worst])
    rest = trainer("rest")
    assert len(everything.batches) + len(everything.val_batches) == 125
    assert len(rest.batches) + len(rest.val_batches) == 100
    kept = np.delete(state.reshape(5, 25, 3), worst, 0).reshape(-1, 3)
    expected = 2 / (kept.max(0) - kept.min(0))
    np.testing.assert_allclose(rest.policy.normalizer.scale["observation.state"], expected, rtol=1e-5)
    assert everything.policy.normalizer.scale["observation.state"][0] < expected[0]
    set_mask(path, "good", [worst, (worst + 1) % 5, (worst + 2) % 5])
    masked = trainer("masked", masks=("good",))
    assert len(masked.batches) + len(masked.val_batches) == 50
    everything.save()
    with pytest.raises(ConfigError, match="had episodes used 5, found 4; resume with what it began with"):
        trainer("all", resume=True)
    set_mask(path, QUARANTINE, range(5))
    with pytest.raises(DatasetError, match="none of its 5 episodes is usable"):
        trainer("none")


def test_goals_lie_after_the_window_in_the_same_episode(tmp_path):
    declared = features([Feature("observation.state", (2,)), Feature("action", (1,))])
    with DatasetWriter.create(tmp_path / "g.zarr", declared, 10.0) as writer:
        for episode, length in enumerate((12, 12, 1, 12)):
            writer.start_episode()
            for step in range(length):
                values = {"observation.state": np.array([episode, step], np.float32), "action": np.zeros(1, np.float32)}
                writer.append(step / 10, values)
            writer.commit({"task": "t", "success": True})
    dataset = Dataset(tmp_path / "g.zarr")
    batches = WindowBatches(dataset, spec_of(dataset, "observation.state", goal_horizon=2), range(4), 16, 0)
    for step in range(6):
        batch = batches.at(step)
        newest, goal = batch["observation.state"][:, -1], batch["goal.observation.state"]
        assert (goal[..., 0] == newest[:, None, 0]).all(), "goals stay in their episode"
        short = newest[:, 0] == 2
        assert (goal[short][..., 1] == 0).all(), "a single step is its own goal"
        newest, goal = newest[~short], goal[~short]
        assert (goal[:, 1, 1] == goal[:, 0, 1] + 1).all()
        assert ((goal[:, 0, 1] > newest[:, 1]) | (goal[:, 1, 1] == 11)).all(), "goals lie ahead, or at the very end"
