"""`Counts`: what of converted actions was not carried over exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.kinematics.state import ArmState

FASTEST_M_S, FASTEST_RAD_S = 3.0, 4 * np.pi
"""No tool of an arm here is moved faster on purpose; a target that asks for more within one step is a jump."""


@dataclass
class Counts:
    """Of one or more episodes.

    Attributes:
        steps: actions that were converted.
        out_of_reach: of them, no joints reach the pose; the nearest pose that was found is held instead.
        farthest_m, farthest_rad: how far the worst of those was from what was asked.
        clipped: have numbers outside of the limit of the layout that they are converted to.
        beyond_limits: ask for joints outside of the arm's limits.
        jumps: are farther from the target before them than an arm moves in one step.
    """

    steps: int = 0
    out_of_reach: int = 0
    farthest_m: float = 0.0
    farthest_rad: float = 0.0
    clipped: int = 0
    beyond_limits: int = 0
    jumps: int = 0

    def missed(self, position_m: float, rotation_rad: float) -> None:
        """One more pose is out of reach, by so much."""
        self.out_of_reach += 1
        self.farthest_m = max(self.farthest_m, position_m)
        self.farthest_rad = max(self.farthest_rad, rotation_rad)

    @property
    def exact(self) -> bool:
        return not (self.out_of_reach or self.clipped or self.beyond_limits)

    def describe(self) -> str:
        """One line; empty where there is nothing to say."""
        said = []
        if self.out_of_reach:
            said.append(
                f"{self.out_of_reach} out of reach, held at the nearest pose found (up to {1000 * self.farthest_m:.3g} "
                f"mm and {np.degrees(self.farthest_rad):.3g} deg away)"
            )
        if self.clipped:
            said.append(f"{self.clipped} clipped to the layout's limit")
        if self.beyond_limits:
            said.append(f"{self.beyond_limits} with joints beyond the arm's limits")
        if self.jumps:
            said.append(f"{self.jumps} that jump")
        return f"Of {self.steps} actions {', '.join(said)}." if said else ""


def jumps(before: ArmState, after: ArmState, dt_s: float, joint_speeds: np.ndarray | None = None) -> bool:
    """Whether an arm that is told `before` and, `dt_s` later, `after` would have to jump.

    Judged by the joints' speed limits (J,) where both are known, by the tool's way elsewhere.
    """
    if before.joints is not None and after.joints is not None and joint_speeds is not None:
        # an arm is allowed to lag behind a target: what counts is out of all proportion to its limits
        return bool((np.abs(after.joints - before.joints) > 2.0 * joint_speeds * dt_s).any())
    if before.position_m is None or after.position_m is None or len(before.position_m) != 3:
        return False
    if np.linalg.norm(after.position_m - before.position_m) > FASTEST_M_S * dt_s:
        return True
    if before.rotation is None or after.rotation is None:
        return False
    # the trace of a rotation is 1 + 2 cos of its angle
    trace = float(np.vdot(before.rotation, after.rotation))
    return bool(trace < 1 + 2 * np.cos(min(FASTEST_RAD_S * dt_s, np.pi)) - 1e-9)
