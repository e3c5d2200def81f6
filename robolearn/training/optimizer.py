"""AdamW with parameter groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from robolearn.policies.base import Policy
from robolearn.training.config import TrainConfig

_NEVER_DECAYED = (
    nn.Embedding, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip


def make_optimizer(policy: Policy, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, fused where the device can.

    Weight decay is for the weights of linear and convolutional layers only: not for biases, norms and embeddings, and
    not for parameters of a module's own that are not called `weight` (positions, learned tokens). Image encoders may
    have their own learning rate and decay. Each group has `share`, its learning rate as a share of the base rate.
    """
    encoder_share = (config.encoder_learning_rate or config.learning_rate) / config.learning_rate
    encoder_decay = config.weight_decay if config.encoder_weight_decay is None else config.encoder_weight_decay
    groups: dict[tuple[float, float], dict[nn.Parameter, None]] = {}
    for module_name, module in policy.named_modules():
        in_encoder = module_name.split(".")[0] == "encoder"
        share, decay = (encoder_share, encoder_decay) if in_encoder else (1.0, config.weight_decay)
        for name, parameter in module.named_parameters(recurse=False):
            decays = parameter.ndim >= 2 and "weight" in name and not isinstance(module, _NEVER_DECAYED)
            groups.setdefault((share, decay if decays else 0.0), {})[parameter] = None
    parameters: list[dict[str, Any]] = [
        {"params": list(members), "share": share, "lr": config.learning_rate * share, "weight_decay": decay}
        for (share, decay), members in groups.items()
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in policy.parameters())
    return torch.optim.AdamW(parameters, lr=config.learning_rate, betas=config.betas, fused=fused)
