"""Push-T from 206 human demonstrations, keypoint observations: small networks that train within an hour on one core."""

from robolearn.policies.act import ActConfig
from robolearn.policies.bc import BcConfig
from robolearn.policies.bc_rnn import BcRnnConfig
from robolearn.policies.bc_transformer import BcTransformerConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.diffusion import DiffusionConfig, UnetConfig
from robolearn.policies.vq_bet import VqBetConfig
from robolearn.training.presets import Preset

_TRAIN = {"batch_size": 256, "precision": "bfloat16", "val_ratio": 0.02, "num_threads": 1, "warmup_steps": 500}

PRESETS = {
    "diffusion": Preset(
        DiffusionConfig(
            obs_horizon=2, action_horizon=11, unet=UnetConfig(widths=(64, 128, 256), kernel_size=3, step_dim=128)
        ),
        {**_TRAIN, "steps": 8_000, "learning_rate": 1e-3, "weight_decay": 1e-4, "betas": (0.95, 0.999)},
    ),
    "beso": Preset(
        BesoConfig(
            obs_horizon=2, action_horizon=10, executed_actions=False, embed_dim=128, layers=4, heads=4,
            attention_dropout=0.05, dropout=0.05, sigma_min=0.01, sigma_max=2.5, sampling_steps=6,
        ),
        {**_TRAIN, "steps": 8_000, "learning_rate": 1e-3},
    ),
    "bc": Preset(
        BcConfig(obs_horizon=2, action_horizon=10, hidden_dim=512, layers=3, dropout=0.1),
        {**_TRAIN, "steps": 8_000, "learning_rate": 1e-3},
    ),
    "bc_rnn": Preset(
        BcRnnConfig(obs_horizon=10, action_horizon=1, hidden_dim=256),
        {**_TRAIN, "steps": 8_000, "learning_rate": 1e-3},
    ),
    "bc_transformer": Preset(
        BcTransformerConfig(obs_horizon=10, action_horizon=1, embed_dim=128, layers=4, heads=4),
        {**_TRAIN, "steps": 8_000, "learning_rate": 1e-3},
    ),
    "act": Preset(
        ActConfig(
            obs_horizon=2, action_horizon=10, embed_dim=128, feedforward_dim=512, encoder_layers=2, decoder_layers=2,
            heads=4,
        ),
        {**_TRAIN, "steps": 8_000, "learning_rate": 3e-4},
    ),
    "vq_bet": Preset(
        VqBetConfig(obs_horizon=2, action_horizon=10),
        {**_TRAIN, "steps": 8_000, "learning_rate": 3e-4, "betas": (0.9, 0.999)},
    ),
}  # fmt: skip
