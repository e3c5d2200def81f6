"""Avoiding from 96 scripted demonstrations: networks of 0.1 to 0.4 M weights that train in minutes on one core."""

from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.diffusion import DiffusionConfig, TransformerConfig
from robolearn.training.presets import Preset

_STATE = ("observation.state",)
# the demonstrations are few: all are learned from
_TRAIN = {"batch_size": 128, "val_ratio": 0.0, "num_threads": 1, "ema": {"max_decay": 0.999}}

PRESETS = {
    # chunks whose ways part lie far from each other: only much noise, sigma_max, makes all of them alike
    "beso": Preset(
        BesoConfig(
            _STATE, obs_horizon=2, action_horizon=8, embed_dim=96, layers=3, heads=4, attention_dropout=0.0,
            dropout=0.0, sigma_min=0.02, sigma_max=5.0, sampling_steps=8,
        ),
        {**_TRAIN, "steps": 30_000, "learning_rate": 2e-3, "precision": "bfloat16"},
    ),
    "diffusion": Preset(
        DiffusionConfig(
            _STATE, obs_horizon=2, action_horizon=8, network="transformer",
            transformer=TransformerConfig(embed_dim=96, layers=3, heads=4, dropout=0.0),
        ),
        {**_TRAIN, "steps": 10_000, "learning_rate": 2e-3, "precision": "bfloat16"},
    ),
    "bc": Preset(
        BcConfig(_STATE, obs_horizon=2, action_horizon=8, hidden_dim=256, layers=3),
        {**_TRAIN, "steps": 4000, "learning_rate": 1e-3},
    ),
}  # fmt: skip
