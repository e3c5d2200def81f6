"""Multimodal block push from 1000 scripted demonstrations, with goals: networks that train within an hour on two cores.

CFG-BESO is BESO with `--policy.goal-dropout 0.1 --policy.guidance 2`. `bc` is GCBC, the deterministic control.
Diffusion Policy predicts three actions, of which one is to be executed: the expert corrects its push ten times a
second. Tried and worse: chunks of 7 and the noise as target (result 0.02), five observations (0.1 to 0.3).
"""

from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.diffusion import DiffusionConfig, UnetConfig
from robolearn.training.presets import Preset

_OBSERVATIONS = (
    "observation.state", "observation.environment_state", "observation.block_from_effector", "observation.block_yaw"
)  # fmt: skip
_GOALS = ("observation.environment_state",)
_TRAIN = {
    "batch_size": 128, "learning_rate": 1e-3, "warmup_steps": 300, "precision": "bfloat16", "val_ratio": 0.02,
    "num_threads": 1,
}  # fmt: skip

PRESETS = {
    "beso": Preset(
        BesoConfig(
            observations=_OBSERVATIONS, goals=_GOALS, goal_dropout=0.0, embed_dim=128, layers=4, heads=4,
            attention_dropout=0.0, dropout=0.0, sigma_min=0.05, sigma_max=1.0,
        ),
        {**_TRAIN, "steps": 16_000},
    ),
    "diffusion": Preset(
        DiffusionConfig(
            observations=_OBSERVATIONS, goals=_GOALS, goal_dropout=0.0, obs_horizon=2, action_horizon=3,
            unet=UnetConfig(widths=(128, 256), kernel_size=3, step_dim=128), prediction="sample",
        ),
        {**_TRAIN, "steps": 12_000, "betas": (0.95, 0.999)},
    ),
    "bc": Preset(
        BcConfig(observations=_OBSERVATIONS, goals=_GOALS, obs_horizon=5, action_horizon=1, hidden_dim=256),
        {**_TRAIN, "steps": 8_000},
    ),
}  # fmt: skip
