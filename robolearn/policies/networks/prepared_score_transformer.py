"""`PreparedScoreTransformer`: a score transformer to act with, which has its blocks in the form that is fastest then.

Copies of weights go stale without a sign. Here they cannot: the blocks' weights are there as copies alone, which
nobody else holds, and all that would change them (training, loading, moving to another device or dtype) is refused by
name. What is changed in the network it was made of does not reach it: prepare that one again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NoReturn, Self

from torch import Tensor, nn

from robolearn.core.errors import ConfigError
from robolearn.policies.networks.decoder_layers import BlockWeights
from robolearn.policies.networks.score_decoder import ScoreDecoder
from robolearn.policies.networks.score_transformer import ScoreTransformer


class PreparedScoreTransformer(nn.Module):
    """What `network` is now, for `context` and `decoder`.

    Raises ConfigError for everything that needs or changes weights as parameters.
    """

    def __init__(self, network: ScoreTransformer):
        super().__init__()
        # embeddings, positions, norm and head are few and stay what they are, a module's parameters
        self._outer: ScoreTransformer = copy.deepcopy(network, {id(network.blocks): nn.ModuleList()}).eval()
        self._blocks = [BlockWeights(block, copied=True) for block in network.blocks]
        self.training = False

    def context(self, *args: Any, **kwargs: Any) -> Tensor:
        """As `ScoreTransformer.context`."""
        return self._outer.context(*args, **kwargs)

    def decoder(self, context: Tensor) -> ScoreDecoder:
        """For (B, T, dim) tokens from `context`."""
        return ScoreDecoder(self._outer, self._blocks, context)

    def forward(self, *args: Any) -> NoReturn:
        raise _refusal("trained")

    def train(self, mode: bool = True) -> Self:
        if mode:
            raise _refusal("trained")
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoReturn:
        raise _refusal("moved or converted")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> NoReturn:
        raise _refusal("saved")

    def _load_from_state_dict(self, *args: Any) -> NoReturn:
        raise _refusal("loaded into")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _refusal("copied or pickled")


def _refusal(what: str) -> ConfigError:
    return ConfigError(
        f"A policy that was prepared for acting cannot be {what}, as its weights are packed; do that with the policy "
        "it was made of, then call prepared() on that again."
    )
