"""VQ-BeT: behaviour generation with latent actions (Lee et al., ICML 2024), the successor of BeT and C-BeT.

A residual vector-quantised autoencoder turns the H actions from a step on into Q codes c_1..c_Q of C values each
(networks/chunk_vq.py). A causal transformer over goal and observations predicts the codes, and an offset for each:

    x_i = GPT(g_1 .. g_G, o_{t-W+1} .. o_i)
    L = L_vq + sum_q w_q focal(p(c_q | x_i)) + lambda |a - decoder(c) - sum_q offset_q(x_i, c_q)|,
    focal(p) = -(1 - p)^2 log p,    w_1 = 5, others 0.5

averaged over the steps i of the window. Acting draws codes from p and adds their offsets: several ways are kept apart,
and the action is still continuous. The focal loss draws their shares towards each other, as it is not a proper score:
two ways that were taken in 70 % and 30 % of cases come out at 58 % and 42 % (`focal_gamma` 0 keeps them).

Differences from the authors' code:

- One training run instead of two. The autoencoder learns beside the transformer, which takes its codes and decoded
  chunks as given (no gradient between the two). They share no weight, so each learns as it would alone; codes wander
  while the learning rate is high and come to rest with it. Nothing is frozen half-way.
- Offsets are learned for the codes of the label, as in BeT. The authors' are learned for codes drawn from p, against
  the label whatever was drawn: the offset of a rarer way is then taught to lead to the more frequent one.
- Codes of a chunk are drawn independently of each other given x, as in all published configurations. Where two ways
  differ in several codes this mixes them; `sequential` draws each code given those before, for any Q.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context
from robolearn.policies.checks import require_counts, require_dropouts, require_finite, require_positive
from robolearn.policies.draws import categorical
from robolearn.policies.networks.chunk_vq import ChunkVq, relu_mlp
from robolearn.policies.networks.gpt import WindowGpt
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise
from robolearn.policies.sequence import SequencePolicy
from robolearn.policies.window import WindowConfig


@dataclass(frozen=True)
class VqBetConfig(WindowConfig):
    """Defaults: the authors' for Push-T (examples/configs/train_pusht_nongoalcond.yaml) but for `offset_weight`."""

    obs_horizon: int = 5
    action_horizon: int = 5
    """actions of a chunk"""
    embed_dim: int = 120
    layers: int = 6
    heads: int = 6
    feature_dim: int = 256
    """what the transformer hands to the heads"""
    head_dim: int = 1024
    """of the two hidden layers of each head"""
    attention_dropout: float = 0.1
    dropout: float = 0.1
    code_layers: int = 2
    """Q"""
    codes: int = 16
    """C"""
    latent_dim: int = 512
    vq_hidden_dim: int = 128
    commitment: float = 5.0
    """weight that keeps the encoder near the codebook"""
    focal_gamma: float = 2.0
    primary_weight: float = 5.0
    secondary_weight: float = 0.5
    """of the second code on"""
    offset_weight: float = 100.0
    """lambda for actions in [-1, 1], as for the authors' kitchen and arm (10 for Push-T, where it is per pixel)"""
    sequential: bool = False
    """each code is predicted given those before it"""
    temperature: float = 1.0
    """of the distribution codes are drawn from"""
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(
            self, "embed_dim", "layers", "heads", "feature_dim", "head_dim", "code_layers", "codes", "latent_dim",
            "vq_hidden_dim",
        )  # fmt: skip
        require_dropouts(self, "attention_dropout", "dropout")
        require_positive(self, "temperature")
        require_finite(self, "temperature")
        for name in ("commitment", "focal_gamma", "primary_weight", "secondary_weight", "offset_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, found {getattr(self, name)}.")


class VqBetPolicy(SequencePolicy):
    Config = VqBetConfig
    SAMPLING = ("temperature",)
    config: VqBetConfig
    code_weights: Tensor

    def __init__(self, config: VqBetConfig, spec: PolicySpec, normalizer: Normalizer):
        super().__init__(config, spec, normalizer)
        c, chunk_dim = config, spec.action_horizon * self.action_dim
        self.vq = ChunkVq(chunk_dim, c.latent_dim, c.vq_hidden_dim, c.code_layers, c.codes, c.commitment)
        self.gpt = WindowGpt(
            self.obs_dim, self.goal_dim, spec.obs_horizon, spec.goal_horizon, c.embed_dim, c.layers, c.heads,
            c.attention_dropout, c.dropout, embedding_norm=False,
        )  # fmt: skip
        self.to_features = nn.Linear(c.embed_dim, c.feature_dim, bias=False)
        heads = _SequentialCodes if c.sequential else _ParallelCodes
        self.predict_codes = heads(c.feature_dim, c.head_dim, c.code_layers, c.codes)
        self.offsets = relu_mlp(c.feature_dim, c.head_dim, c.head_dim, c.code_layers * c.codes * chunk_dim)
        weights = torch.tensor([c.primary_weight] + [c.secondary_weight] * (c.code_layers - 1))
        self.register_buffer("code_weights", weights, persistent=False)

    def loss(self, batch: Mapping[str, Tensor], noise: Noise) -> Tensor:
        context = self.context(batch)
        features = self.features(context).flatten(0, 1)
        chunks = self.chunks(batch).flatten(2).flatten(0, 1)
        labelled = self.labelled(context).flatten().to(chunks.dtype)
        codes, vq_loss = self.vq(chunks, labelled)
        with torch.no_grad():
            centre = self.vq.decode(codes)
        focal = focal_loss(self.predict_codes(features, codes).float(), codes, self.config.focal_gamma)
        offset = (chunks - centre - self.offset(features, codes)).abs().mean(dim=1)
        loss = vq_loss + focal @ self.code_weights + self.config.offset_weight * offset
        return (loss * labelled).mean()

    def sample(self, context: Context, generator: torch.Generator | None) -> Tensor:
        newest = self.features(context)[:, -1]
        codes = self.predict_codes.sample(newest, self.config.temperature, generator)
        chunk = self.vq.decode(codes) + self.offset(newest, codes)
        return chunk.unflatten(1, (-1, self.action_dim))

    def features(self, context: Context) -> Tensor:
        """x of each step of the window, (B, W, feature_dim)."""
        return self.to_features(self.gpt(context.observation, self.needed_goal(context)))

    def offset(self, features: Tensor, codes: Tensor) -> Tensor:
        """(N, feature_dim), (N, Q) -> (N, H * A), the sum of the offsets of these codes."""
        table = self.offsets(features).view(*codes.shape, self.config.codes, -1)
        return torch.take_along_dim(table, codes[..., None, None], dim=2).sum(dim=(1, 2))


class _ParallelCodes(nn.Module):
    """All codes at once, independent of each other given the features."""

    def __init__(self, inputs: int, hidden: int, layers: int, codes: int):
        super().__init__()
        self.layers = layers
        self.mlp = relu_mlp(inputs, hidden, hidden, layers * codes)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """(N, F) features, the labels' codes (N, Q) -> (N, Q, C) logits."""
        return self.mlp(features).unflatten(1, (self.layers, -1))

    def sample(self, features: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
        """(N, F) -> (N, Q)."""
        return categorical(self.mlp(features).unflatten(1, (self.layers, -1)) / temperature, generator)


class _SequentialCodes(nn.Module):
    """A head for each code, which sees the codes before it; otherwise as `_ParallelCodes`."""

    def __init__(self, inputs: int, hidden: int, layers: int, codes: int):
        super().__init__()
        self.codes = codes
        self.mlps = nn.ModuleList(relu_mlp(inputs + q * codes, hidden, hidden, codes) for q in range(layers))

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        return torch.stack([self._logits(features, codes[:, :q]) for q in range(len(self.mlps))], dim=1)

    def sample(self, features: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
        codes = torch.empty(len(features), 0, dtype=torch.long, device=features.device)
        for _ in self.mlps:
            code = categorical(self._logits(features, codes) / temperature, generator)
            codes = torch.cat([codes, code[:, None]], dim=1)
        return codes

    def _logits(self, features: Tensor, before: Tensor) -> Tensor:
        told = nn.functional.one_hot(before, self.codes).flatten(1).to(features.dtype)
        return self.mlps[before.shape[1]](torch.cat([features, told], dim=1))


def focal_loss(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p of the target's probability p (Lin et al. 2017). (..., C), (...) -> (...)."""
    log_p = torch.take_along_dim(logits.log_softmax(dim=-1), target[..., None], dim=-1)[..., 0]
    # 1 - p without cancellation; above 0, where its power has a finite slope
    rest = -torch.expm1(log_p)
    return -(rest.clamp_min(1e-12) ** gamma) * log_p
