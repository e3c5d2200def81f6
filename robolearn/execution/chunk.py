"""What a policy predicts, and what a policy server answers: checked before anything is done with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.errors import FeatureError, ServerError, one_line
from robolearn.execution.policy_spec import PolicySpec


@dataclass(frozen=True)
class Chunk:
    """An answer with its times, in s on the loop's clock.

    Attributes:
        actions: (H, A); the first is due at `t_obs_s`.
        t_obs_s: when the newest observation was taken.
        sent_s, received_s: of the request and its answer.
        infer_ms, server_ms: time in the policy, and in the server in all, as the server measured them.
    """

    actions: np.ndarray
    t_obs_s: float
    sent_s: float
    received_s: float
    infer_ms: float
    server_ms: float


def predicted_actions(predicted: Any, spec: PolicySpec) -> np.ndarray:
    """What a policy here gave as a chunk: (action_horizon, *shape) finite numbers, as `Feature.numbers` has it.

    Raises FeatureError, a sentence that follows the policy's name, for anything else.
    """
    actions = spec.action_feature.numbers(predicted)
    expected = (spec.action_horizon, *spec.action_feature.shape)
    if actions.shape != expected:
        raise FeatureError(f"predicted actions of shape {actions.shape}, expected {expected}.")
    if not np.isfinite(actions).all():
        bad = tuple(np.argwhere(~np.isfinite(actions))[0].tolist())
        names = spec.action_feature.names
        label = names[bad[1]] if names else f"element {', '.join(map(str, bad[1:]))}"
        raise FeatureError(
            f"predicted a non-finite action ({actions[bad]} at {label}, action {bad[0]} of the chunk); it was not "
            "executed. Check the training run for diverged weights."
        )
    return actions


def actions_of(answer: Mapping[str, Any], spec: PolicySpec) -> np.ndarray:
    """The chunk in a server's answer: a copy, (action_horizon, A), finite, as `Feature.numbers` has it.

    Raises ServerError that says what was found instead.
    """
    shape = (spec.action_horizon, *spec.action_feature.shape)
    if "actions" not in answer:
        raise ServerError("The server's answer lacks 'actions'.")
    found = answer["actions"]
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        what = f"an array of {found.dtype}" if isinstance(found, np.ndarray) else f"{type(found).__name__}"
        raise ServerError(f"The server's 'actions' are {what}, expected an array of numbers of shape {shape}.")
    if found.shape != shape:
        raise ServerError(f"The server's 'actions' have shape {one_line(found.shape, 60)}, expected {shape}.")
    with np.errstate(over="ignore"):  # what the type cannot hold becomes infinite
        # never cast to whole numbers: NaN would become one
        actions = np.array(spec.action_feature.numbers(found))
    if not np.isfinite(actions).all():
        bad = actions.size - int(np.isfinite(actions).sum())
        raise ServerError(f"The server's 'actions' are not finite ({bad} of {actions.size} numbers).")
    return actions


def infer_ms(answer: Mapping[str, Any], part: str) -> float:
    """`infer_ms` of `policy_timing` or `server_timing`. Raises ServerError unless it is a finite number."""
    timing = answer.get(part)
    if not isinstance(timing, Mapping):
        found = "missing" if timing is None else type(timing).__name__
        raise ServerError(f"The server's {part!r} is {found}, expected a map with 'infer_ms'.")
    value = timing.get("infer_ms")
    if not isinstance(value, int | float | np.floating) or isinstance(value, bool) or not math.isfinite(value):
        found = "missing" if value is None else f"{type(value).__name__} {one_line(value, 40)}"
        raise ServerError(f"The server's {part!r} has an 'infer_ms' that is {found}, expected a finite number of ms.")
    return float(value)
