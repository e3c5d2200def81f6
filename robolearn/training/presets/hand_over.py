"""Two-arm hand-over from 150 scripted demonstrations, from state: the policy of `robolearn demo`, of 0.8 M weights."""

from robolearn.policies.beso import BesoConfig
from robolearn.training.presets import Preset

PRESETS = {
    "beso": Preset(
        BesoConfig(
            ("observation.state", "observation.environment_state"), obs_horizon=1, action_horizon=12, embed_dim=128,
            layers=4, heads=4, attention_dropout=0.0, dropout=0.0,
        ),
        {"steps": 6000, "batch_size": 128, "precision": "bfloat16", "num_threads": 1},
    ),
}  # fmt: skip
