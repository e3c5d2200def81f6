"""What the server does with one client's requests, without any network: check, window, infer, answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import FeatureError, LayoutError, ServerError, closest
from robolearn.core.feature import Features
from robolearn.core.meaning import layout_difference
from robolearn.execution.chunk import predicted_actions
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.execution.policy import ActingPolicy
from robolearn.execution.timed_window import TimedWindow
from robolearn.serving import wire

_SHOWN, _SHOWN_LENGTH, _COMPARED = 20, 80, 100  # of the names in an error


class Session:
    """History and noise of one connection.

    A request brings each observation feature either as a window (obs_horizon, *shape), or as one sample
    (*shape), as openpi's clients do. A policy that looks at several observations gets its window of samples only where
    their times are known.

    Args:
        policy: what computes chunks.
        make_generator: seed -> the policy's random generator; None for policies without noise.
        seed: of this session.
    """

    def __init__(self, policy: ActingPolicy, make_generator: Callable[[int], Any] | None, seed: int):
        self.policy = policy
        self.spec = policy.spec
        self._make_generator = make_generator
        self._window = TimedWindow(self.spec.obs_horizon, 1.0 / self.spec.control_hz)
        self._windows = _windows(self.spec.observation_features, self.spec.obs_horizon)
        self._goals = _windows(self.spec.goal_features, self.spec.goal_horizon)
        self._taken: Any = None
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Forget the history; with a seed, restart the noise too."""
        self._window.clear()
        if seed is not None:
            self._generator = self._make_generator(seed) if self._make_generator else None

    def infer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to an inference request: `actions` (H, *shape) and `policy_timing`.

        Raises FeatureError for observations, a goal or executed actions that the policy was not trained on, and for a
        client that carries out actions of another layout, and ServerError when the policy itself produced something
        unusable.
        """
        self._check_taken(request.get(wire.TAKES))
        asked = ChunkRequest(
            self._observations(request), self._executed(request.get(wire.EXECUTED)), self._goal(request.get(wire.GOAL))
        )
        start = time.perf_counter()
        chunk = asked.put_to(self.policy, self._generator)
        infer_ms = (time.perf_counter() - start) * 1e3
        try:
            actions = predicted_actions(chunk, self.spec)
        except FeatureError as error:
            raise ServerError(f"The policy {error}") from error
        return {"actions": actions, "policy_timing": {"infer_ms": infer_ms}}

    def _check_taken(self, takes: Any) -> None:
        """Refuse a client that says it carries out other actions than these. It says the same each time."""
        if takes is None or _equal(takes, self._taken):
            return
        try:
            wanted = ActionLayout.from_dict(takes)
        except LayoutError as error:
            raise LayoutError(f"request: {wire.TAKES!r}: {error}") from error
        given = layout_of(self.spec.action_feature)
        if given is not None and (difference := layout_difference(wanted, given)) is not None:
            raise LayoutError(
                f"request: you carry out {difference[0]}, this policy answers {difference[1]} ({given.size} numbers: "
                f"{given.describe()}); serve a policy that was trained with: robolearn train ... --action LAYOUT."
            )
        self._taken = takes

    def skip(self, request: Mapping[str, Any]) -> None:
        """Take note of an observation that no actions are wanted for. Raises as `infer` does."""
        if self.spec.obs_horizon > 1:
            self._sample(request, self._arrays(request))

    def _observations(self, request: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arrays = self._arrays(request)
        sample = self._sample(request, arrays)
        if sample is None:
            return {name: np.array(self._windows[name].check(a, "request")) for name, a in arrays.items()}
        if self.spec.obs_horizon == 1:
            return {name: np.array(a[None]) for name, a in sample.items()}
        try:
            return self._window.window()
        except FeatureError as error:
            raise FeatureError(f"request: {error}") from error

    def _sample(self, request: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """The request's single observation, kept for later windows; None when it brings whole windows."""
        features, horizon = self.spec.observation_features, self.spec.obs_horizon
        singles = [name for name, a in arrays.items() if a.ndim == len(features[name].shape)]
        if not singles:
            return None
        if len(singles) < len(arrays):
            raise FeatureError(
                f"request: {singles} came as single samples and the others as windows; send all of them the same way."
            )
        sample = {name: features[name].check(a, "request") for name, a in arrays.items()}
        if horizon > 1:
            if request.get(wire.TIME) is None:
                raise FeatureError(
                    f"request: this policy looks at {horizon} observations, {self._window.step_s:.3g} s apart, and a "
                    f"single one came without its time. Send windows of shape ({horizon}, ...), the newest last, or "
                    f"one observation every step with {wire.TIME!r}, the time in s at which it was taken."
                )
            self._window.push(float(request[wire.TIME]), sample)
        return sample

    def _arrays(self, request: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: self._array(request, name) for name in self.spec.observation_features}

    def _array(self, request: Mapping[str, Any], name: str) -> np.ndarray:
        if name not in request:
            sent = sorted(str(key)[:_SHOWN_LENGTH] for key in request if not str(key).startswith("__"))
            guess = closest(name, sent[:_COMPARED])
            hint = f" The closest is {guess!r}." if guess else ""
            more = f" and {len(sent) - _SHOWN} more" if len(sent) > _SHOWN else ""
            listed = ", ".join(sent[:_SHOWN]) or "nothing"
            raise FeatureError(f"request: feature {name!r} is missing.{hint} Sent: {listed}{more}.")
        return _numbers(request[name], f"feature {name!r}")

    def _goal(self, goal: Any) -> dict[str, np.ndarray] | None:
        """What the policy is given. That a policy needs a goal and none was sent is the policy's to say."""
        if goal is None:
            return None
        if not isinstance(goal, Mapping):
            raise FeatureError(f"request: the goal is of type {type(goal).__name__}, expected a map of features.")
        if not self._goals:
            raise FeatureError("request: this policy takes no goal, but one was sent; leave it out.")
        arrays = {name: self._array(goal, name) for name in self._goals}
        return {name: np.array(self._goals[name].check(array, "request: goal")) for name, array in arrays.items()}

    def _executed(self, executed: Any) -> np.ndarray | None:
        if executed is None:
            return None
        what = f"{wire.EXECUTED!r} (the executed actions)"
        array = _numbers(executed, what)
        width, most = self.spec.action_feature.shape, self.spec.obs_horizon + self.spec.action_horizon
        fits = array.ndim and array.shape[1:] == width and len(array) <= most
        with np.errstate(over="ignore"):
            numbers = self.spec.action_feature.numbers(array) if fits and array.dtype.kind in "fiu" else None
        if numbers is None or not np.isfinite(numbers).all():
            raise FeatureError(
                f"request: {what} has shape {array.shape} and dtype {array.dtype}, expected finite numbers "
                f"of shape ({', '.join(map(str, ('steps', *width)))}), at most {most} steps."
            )
        return numbers


def warm_up(policy: ActingPolicy, make_generator: Callable[[int], Any] | None, repeats: int = 5) -> list[float]:
    """Run inference on zeros before anybody waits for it. Returns the time of each, in ms."""
    session = Session(policy, make_generator, seed=0)
    spec = session.spec
    request: dict[str, Any] = _zeros(spec.observation_features, spec.obs_horizon)
    if spec.goal_horizon:
        request[wire.GOAL] = _zeros(spec.goal_features, spec.goal_horizon)
    return [session.infer(request)["policy_timing"]["infer_ms"] for _ in range(repeats)]


def _numbers(value: Any, what: str) -> np.ndarray:
    """An array of what a client sent. A list of texts is never made one: each would take as much as the longest."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending.extend(part)
        elif not isinstance(part, np.ndarray | np.generic | bool | int | float):
            raise FeatureError(f"request: {what} holds a value of type {type(part).__name__}, expected numbers.")
        elif isinstance(part, np.ndarray | np.generic) and part.dtype.kind not in "biufc":
            raise FeatureError(f"request: {what} has dtype {part.dtype}, expected numbers.")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise FeatureError(f"request: {what} is not an array: {error}") from error


def _windows(features: Features, horizon: int) -> Features:
    """Features of `horizon` samples in a row, (horizon, *shape)."""
    return {name: feature.window(horizon) for name, feature in features.items()}


def _zeros(features: Features, horizon: int) -> dict[str, np.ndarray]:
    return {name: np.zeros((horizon, *feature.shape), feature.dtype) for name, feature in features.items()}


def _equal(said: Any, before: Any) -> bool:
    """Whether a client said the same again; it may say arrays, which have no truth value."""
    try:
        return bool(said == before)
    except ValueError:
        return False
