"""What a policy looks back at: the last few observations, and the actions executed between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np

from robolearn.core.errors import ConfigError, FeatureError


class ObservationHistory:
    """Keeps the newest `horizon` observations of the named features, one push per policy step.

    Until `horizon` observations have been pushed, the oldest one fills the missing places, which is how
    training pads the start of an episode. With horizon 3:

        push    window()
        o0      o0 o0 o0
        o1      o0 o0 o1
        o2      o0 o1 o2
        o3      o1 o2 o3
        clear   error until the next push
    """

    def __init__(self, names: Iterable[str], horizon: int):
        if horizon < 1:
            raise ConfigError(f"An observation horizon must be at least 1, found {horizon}.")
        self.names = tuple(names)
        self.horizon = horizon
        self._observations: deque[dict[str, np.ndarray]] = deque(maxlen=horizon)

    def __len__(self) -> int:
        return len(self._observations)

    def push(self, observation: Mapping[str, np.ndarray]) -> None:
        """Add one observation; entries that are not among `names` are ignored, arrays are copied.

        Raises FeatureError when a named feature is missing.
        """
        missing = [name for name in self.names if name not in observation]
        if missing:
            has = ", ".join(sorted(observation)) or "nothing"
            raise FeatureError(f"The observation lacks {missing}; it has: {has}.")
        self._observations.append({name: np.array(observation[name]) for name in self.names})

    def window(self) -> dict[str, np.ndarray]:
        """name -> (horizon, *shape), oldest first. Raises FeatureError when nothing was pushed yet."""
        if not self._observations:
            raise FeatureError("There is no observation yet: push one before asking for a window.")
        padded = [self._observations[0]] * (self.horizon - len(self._observations)) + list(self._observations)
        return {name: np.stack([observation[name] for observation in padded]) for name in self.names}

    def clear(self) -> None:
        """Forget everything: a new episode starts."""
        self._observations.clear()


class ExecutedActions:
    """Keeps the actions of the last `horizon` steps, one push per policy step.

    Only steps without a gap before the newest observation count: a step in which nothing was executed (None: the arm
    held) ends what is known, as the beginning of the episode does. With horizon 2:

        push    window()
                None
        a0      a0
        a1      a0 a1
        a2      a1 a2
        None    None
        a4      a4
        clear   None
    """

    def __init__(self, horizon: int):
        if horizon < 0:
            raise ConfigError(f"A horizon of executed actions must be at least 0, found {horizon}.")
        self._actions: deque[np.ndarray] = deque(maxlen=horizon)

    def push(self, action: np.ndarray | None) -> None:
        """What was executed in the step that led to the newest observation, (A,), copied; None = nothing."""
        if action is None:
            self._actions.clear()
        else:
            self._actions.append(np.array(action))

    def window(self) -> np.ndarray | None:
        """(P, A) with 1 <= P <= horizon, the latest last; None when nothing is known."""
        return np.stack(self._actions) if self._actions else None

    def clear(self) -> None:
        """Forget everything: a new episode starts."""
        self._actions.clear()
