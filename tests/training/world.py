"""A small dataset whose action is a fixed function of the state, and short runs on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from robolearn.core.feature import Feature, features
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.training.config import TrainConfig

BC = BcConfig(hidden_dim=8, layers=1)
BESO = BesoConfig(obs_horizon=2, action_horizon=3, embed_dim=16, layers=1, heads=2)

FEATURES = features(
    [Feature("observation.state", (3,)), Feature("observation.environment_state", (2,)), Feature("action", (2,))]
)


def write_dataset(path: Path, episodes: int = 6, length: int = 25) -> Path:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(3, 2))
    with DatasetWriter.create(path, FEATURES, 10.0) as writer:
        for _ in range(episodes):
            writer.start_episode()
            for step in range(length):
                state = rng.normal(size=3).astype(np.float32)
                values = {
                    "observation.state": state,
                    "observation.environment_state": rng.normal(size=2).astype(np.float32),
                    "action": (state @ matrix).astype(np.float32),
                }
                writer.append(step / 10.0, values)
            writer.commit({"task": "test", "success": True})
    return path


def run_config(dataset: Path, output: Path, **changes) -> TrainConfig:
    base = TrainConfig(
        dataset, output, steps=30, batch_size=16, warmup_steps=2, log_every=5, checkpoint_every=10, num_threads=1,
        val_ratio=0.2,
    )  # fmt: skip
    return replace(base, **changes)
