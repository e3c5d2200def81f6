"""robosuite Lift and Stack from 84 x 84 pictures of two cameras, 200 scripted demonstrations each.

A reduced setting for processors: ResNet-18 of 16 channels in place of 64 and of three stages in place of four, small
policies. What the two tasks see and do is alike, so they share their settings.
"""

from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.networks.vision import VisionConfig
from robolearn.training.presets import Preset

_SEES = (
    "observation.state",
    "observation.images.agentview",
    "observation.images.robot0_eye_in_hand",
)
_VISION = VisionConfig(width=16, stages=3)
_TRAIN = {"batch_size": 64, "precision": "bfloat16", "val_ratio": 0.03, "num_threads": 1, "warmup_steps": 200}

PRESETS = {
    "beso": Preset(
        BesoConfig(
            observations=_SEES, obs_horizon=1, action_horizon=12, executed_actions=False, vision=_VISION,
            embed_dim=128, layers=3, heads=4, attention_dropout=0.0, dropout=0.0, sigma_min=0.01, sigma_max=2.5,
            sampling_steps=6,
        ),
        {**_TRAIN, "steps": 8000, "learning_rate": 1e-3},
    ),
    "bc": Preset(
        BcConfig(observations=_SEES, obs_horizon=1, action_horizon=12, vision=_VISION, hidden_dim=512, layers=2),
        {**_TRAIN, "steps": 8000, "learning_rate": 1e-3},
    ),
}  # fmt: skip
