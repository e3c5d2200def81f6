"""The window of a client that sends one observation at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.core.errors import FeatureError


class TimedWindow:
    """Keeps samples by the time at which they were taken, so that a window holds what training saw: steps of `step_s`.

    A place of the window is filled by the sample that is nearest in time, at most half a step away. Before the first
    sample of an episode the window repeats it, as training does. With horizon 3 and steps of 0.1 s:

        push    window()
        0.00    0.00 0.00 0.00
        0.11    0.00 0.00 0.11
        0.20    0.00 0.11 0.20
        0.60    error: nothing was taken about 0.5
        0.70    error: nothing was taken about 0.5
        0.80    0.60 0.70 0.80
        0.00    0.00 0.00 0.00      time that runs backwards begins an episode, as `clear` does
    """

    def __init__(self, horizon: int, step_s: float):
        self.horizon = horizon
        self.step_s = step_s
        self._samples: list[tuple[float, dict[str, np.ndarray]]] = []
        self._from_start = True

    def clear(self) -> None:
        """Forget everything: a new episode starts."""
        self._samples.clear()
        self._from_start = True

    def push(self, taken_s: float, sample: Mapping[str, np.ndarray]) -> None:
        """Add what was seen at `taken_s`, on the client's clock; arrays are copied."""
        if self._samples and taken_s < self._samples[-1][0]:
            self.clear()
        samples = self._samples
        if samples and taken_s == samples[-1][0]:
            samples.pop()
        elif len(samples) > 1 and taken_s - samples[-2][0] < self.step_s / 2:
            samples.pop()  # of samples that come much faster than the policy's steps a few are enough
        samples.append((taken_s, {name: np.array(value) for name, value in sample.items()}))
        oldest_s = taken_s - (self.horizon - 0.5) * self.step_s
        while samples[0][0] < oldest_s:
            del samples[0]
            self._from_start = False

    def window(self) -> dict[str, np.ndarray]:
        """name -> (horizon, *shape), oldest first. Raises FeatureError when samples are missing."""
        newest_s = self._samples[-1][0]
        places = [self._at(newest_s - back * self.step_s) for back in reversed(range(self.horizon))]
        return {name: np.stack([sample[name] for sample in places]) for name in places[0]}

    def _at(self, time_s: float) -> dict[str, np.ndarray]:
        nearest_s, sample = min(self._samples, key=lambda timed: abs(timed[0] - time_s))
        before_start = self._from_start and time_s < self._samples[0][0]
        if abs(nearest_s - time_s) > self.step_s / 2 * (1 + 1e-6) and not before_start:
            missing_s = self._samples[-1][0] - time_s
            raise FeatureError(
                f"no observation was sent that was taken {missing_s:.3g} s before the newest; this policy looks at "
                f"{self.horizon} observations, {self.step_s:.3g} s apart. Send one every step, or windows of shape "
                f"({self.horizon}, ...), and {{'__op__': 'reset'}} when an episode begins."
            )
        return sample
