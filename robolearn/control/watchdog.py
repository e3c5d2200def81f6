"""What the arm does when actions stop coming: nothing sudden, and nothing forever."""

from __future__ import annotations

import enum

from robolearn.core.errors import ConfigError


class State(enum.Enum):
    """What the loop does in a tick; see `Watchdog`."""

    RUNNING = "running"
    HOLDING = "holding"
    STOPPED = "stopped"


class Watchdog:
    """Decides, tick by tick, whether to follow actions, brake and hold, or let the arm rest by itself.

        state     what is commanded                     becomes       when
        RUNNING   the scheduled action, within limits;  HOLDING       no valid action for more than stale_s:
                  in a gap the last target                            a safety stop, counted
        HOLDING   decelerate to rest, then the same     RUNNING       an action is valid
                  pose every tick                       STOPPED       this has lasted for stop_after_s
        STOPPED   `stop` once, then nothing: the arm    RUNNING       an action is valid
                  holds by itself

    It begins in HOLDING: waiting for the first chunk is no safety stop.

    Args:
        stale_s: longest gap between actions that is bridged.
        stop_after_s: how long the pose is held by commands.
    """

    def __init__(self, stale_s: float = 0.1, stop_after_s: float = 2.0):
        if not stale_s > 0 or not stop_after_s > 0:
            raise ConfigError(f"Watchdog times must be positive, found stale_s {stale_s}, stop_after_s {stop_after_s}.")
        self.stale_s = stale_s
        self.stop_after_s = stop_after_s
        self.start(0.0)

    def start(self, now_s: float) -> None:
        """A new episode begins; the count starts again."""
        self.state = State.HOLDING
        self.safety_stops = 0
        self._since_s = now_s  # of the last valid action, or of the state

    def update(self, has_action: bool, now_s: float) -> State:
        """Say whether an action is valid at `now_s` and get the state for this tick."""
        if has_action:
            self.state, self._since_s = State.RUNNING, now_s
        elif self.state is State.RUNNING and now_s - self._since_s > self.stale_s:
            self.state, self._since_s = State.HOLDING, now_s
            self.safety_stops += 1
        elif self.state is State.HOLDING and now_s - self._since_s > self.stop_after_s:
            self.state = State.STOPPED
        return self.state
