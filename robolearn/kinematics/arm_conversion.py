"""`ArmConversion`: the numbers that one arm is told in one layout become those of another one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from robolearn.core.action import Part
from robolearn.core.errors import ConfigError, LayoutError
from robolearn.kinematics.conversion_counts import Counts, jumps
from robolearn.kinematics.pose import Pose, numbers_of, pose_of, scaled_back, values_of
from robolearn.kinematics.state import ArmState

How = Literal["as they are", "scaled", "through its goal"]
_LIMIT_SLACK = 1e-6  # of a layout's limit: float32 numbers that stand for the limit itself


class _Solution(Protocol):
    @property
    def joints(self) -> np.ndarray: ...
    @property
    def position_error_m(self) -> float: ...
    @property
    def rotation_error_rad(self) -> float: ...
    @property
    def reached(self) -> bool: ...


class Kinematics(Protocol):
    """What a conversion needs to know of a robot, in its own base frame.

    Attributes:
        home_rad: (J,) joints of its usual posture.
        limits_rad: (J, 2) lowest and highest joints.
        speeds_rad_s: (J,) highest joint speeds.
    """

    @property
    def home_rad(self) -> np.ndarray: ...
    @property
    def limits_rad(self) -> np.ndarray: ...
    @property
    def speeds_rad_s(self) -> np.ndarray: ...
    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def solve(self, start: np.ndarray, position_m: np.ndarray, rotation: np.ndarray) -> _Solution: ...
    def search(self, position_m: np.ndarray, rotation: np.ndarray) -> _Solution: ...


class ArmRobot:
    """The kinematics of a robot, made when they are first asked for: MuJoCo is imported then, and not before.

    Args:
        name: of the robot.
        kinematics: of a name; those of the registry by default. They belong to one thread.
    """

    def __init__(self, name: str, kinematics: Callable[[str], Kinematics] | None = None):
        self.name = name
        self._make = kinematics
        self._made: Kinematics | None = None

    def __call__(self) -> Kinematics:
        if self._made is None:
            self._made = registered_kinematics(self.name) if self._make is None else self._make(self.name)
        return self._made

    @property
    def speeds_rad_s(self) -> np.ndarray | None:
        """(J,) highest joint speeds, for which its files are not needed; None of a robot that is not known here."""
        if self._make is not None:
            return self().speeds_rad_s
        from robolearn.kinematics.robots import robot

        try:
            return np.array(robot(self.name).velocity)
        except ConfigError:
            return None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None}


def registered_kinematics(name: str) -> Kinematics:
    """Of a robot of the registry. Raises ConfigError for an unknown name."""
    from robolearn.kinematics.arm import ArmKinematics
    from robolearn.kinematics.robots import robot

    return ArmKinematics(robot(name))


@dataclass(frozen=True)
class ArmConversion:
    """One arm of a conversion.

    Attributes:
        source, target: prefixes of the arm in the two layouts; `source` is None for an arm that holds its last target.
        source_parts, target_parts: its motion and its gripper in the two layouts, each with its slice of the action.
        motion: how the numbers of the motion are converted.
        gripper: how the number of the gripper is.
        mount: where the base of the arm is in the world; None where no frame is left.
        dt_s: between two actions.
        robot: the one that carries it out; None where it is not known.
    """

    source: str | None
    target: str
    source_parts: tuple[tuple[Part, slice], ...]
    target_parts: tuple[tuple[Part, slice], ...]
    motion: How
    gripper: How
    mount: Pose | None
    dt_s: float | None
    robot: ArmRobot | None

    @property
    def relative(self) -> Part | None:
        """A motion part that says nothing without where the arm is, or was told to go; None where there is none."""
        if self.motion != "through its goal":
            return None
        parts = [part for part, _ in (*self.source_parts, *self.target_parts) if part.kind != "gripper"]
        if self.source is None:
            return parts[0] if parts else None
        return next(
            (p for p in parts if p.reference != "absolute" or p.kind == "velocity" or p.rotation == "none"), None
        )

    def convert(
        self, action: np.ndarray, measured: ArmState, target: ArmState, out: np.ndarray, counts: Counts
    ) -> ArmState:
        """Write this arm's numbers of `action` (A,) into `out` (B,); the arm's new target.

        Raises LayoutError where the states do not say what a part is relative to.
        """
        goal = target
        for part, where in self.source_parts:
            if part.kind == "gripper":
                goal = replace(goal, opening=float(values_of(part, action[where])[0]))
            elif self.motion == "through its goal":
                goal = self._read(part, action[where], measured, target, goal)
        return self._write(action, goal, measured, target, out, counts)

    def _write(
        self, action: np.ndarray, goal: ArmState, measured: ArmState, target: ArmState, out: np.ndarray, counts: Counts
    ) -> ArmState:
        clipped = False
        sources = {part.kind == "gripper": (part, where) for part, where in self.source_parts}
        for part, where in self.target_parts:
            is_gripper = part.kind == "gripper"
            how = self.gripper if is_gripper else self.motion
            if how != "through its goal":
                source, numbers = sources[is_gripper][0], action[sources[is_gripper][1]]
                out[where] = numbers if how == "as they are" else scaled_back(part, values_of(source, numbers))
            elif is_gripper:
                if goal.opening is None:
                    raise LayoutError(f"How far the {part.name} was told to open is not known, so it cannot be held.")
                out[where] = scaled_back(part, np.array([goal.opening]))
            else:
                goal = self._reachable(part, goal, measured, target, counts)
                out[where] = self._numbers(part, goal, measured, target)
            if part.limit is not None and how != "as they are":
                inside = np.clip(out[where], *part.limit)
                if np.abs(inside - out[where]).max(initial=0.0) > _LIMIT_SLACK:
                    clipped = True
                    out[where] = inside
                    if is_gripper:
                        goal = replace(goal, opening=float(values_of(part, inside)[0]))
                    elif self.motion == "through its goal":
                        goal = self._read(part, inside, measured, target, goal)
                else:
                    out[where] = inside
        counts.clipped += clipped
        return self._followed(out, goal, measured, target, counts)

    def watch(self, action: np.ndarray, measured: ArmState, target: ArmState, counts: Counts) -> ArmState:
        """The arm's new target by `action` (A,), which is carried out as it is."""
        goal = target
        for part, where in self.source_parts:
            if part.kind == "gripper":
                goal = replace(goal, opening=float(values_of(part, action[where])[0]))
        return self._followed(action, goal, measured, target, counts)

    def _followed(
        self, told: np.ndarray, goal: ArmState, measured: ArmState, target: ArmState, counts: Counts
    ) -> ArmState:
        """`goal`, with where a motion that is `told` (B,) without one leads, as far as that is known; a jump to it is
        counted.
        """
        by_goal = self.motion == "through its goal"
        for part, where in self.target_parts:
            before = measured if part.reference == "current" else target
            if not by_goal and part.kind != "gripper" and can_follow(part, before):
                goal = self._read(part, told[where], measured, target, goal)
        if self.dt_s is not None:
            free = not by_goal and any(part.free for part, _ in self.target_parts)
            end = replace(goal, rotation=None) if free else goal  # what the arm cannot follow is no jump
            counts.jumps += jumps(target, end, self.dt_s, self._speeds(target, goal))
        return goal

    def _speeds(self, before: ArmState, after: ArmState) -> np.ndarray | None:
        """(J,) of joints that are known before and after; None elsewhere."""
        if self.robot is None or before.joints is None or after.joints is None:
            return None
        speeds = self.robot.speeds_rad_s
        return speeds if speeds is not None and len(speeds) == len(before.joints) == len(after.joints) else None

    def _read(self, part: Part, numbers: np.ndarray, measured: ArmState, target: ArmState, goal: ArmState) -> ArmState:
        """`goal` with where a motion part says that the arm goes; what it does not say is not known then."""
        if part.kind == "pose":
            reference = None
            if part.reference != "absolute" or part.rotation == "none" or not part.coordinates:
                reference = self._seen(part, self.pose(measured if part.reference == "current" else target))
            pose = pose_of(part, numbers, reference)
            return replace(goal.at(self._in_base(part, pose)), joints=None)
        values = values_of(part, numbers)
        if part.kind == "velocity":
            values = self.joints(target, part) + values * self._dt(part)
        elif part.reference != "absolute":
            values = self.joints(measured if part.reference == "current" else target, part) + values
        return replace(goal, joints=values, position_m=None, rotation=None)

    def _numbers(self, part: Part, goal: ArmState, measured: ArmState, target: ArmState) -> np.ndarray:
        """(n,) what a motion part of the target layout says of `goal`, which has what the part needs."""
        if part.kind == "pose":
            reference = None
            if part.reference != "absolute":
                reference = self._seen(part, self.pose(measured if part.reference == "current" else target))
            return numbers_of(part, self._seen(part, self.pose(goal)), reference)
        joints = self.joints(goal, part)
        if part.kind == "velocity":
            joints = (joints - self.joints(target, part)) / self._dt(part)
        elif part.reference != "absolute":
            joints = joints - self.joints(measured if part.reference == "current" else target, part)
        return scaled_back(part, joints)

    def _reachable(self, part: Part, goal: ArmState, measured: ArmState, target: ArmState, counts: Counts) -> ArmState:
        """`goal` with the joints or the pose that `part` is written from; the nearest pose where it has no joints."""
        if part.kind == "pose":
            if goal.position_m is None:
                goal = goal.at(self.pose(goal))
        elif goal.joints is None:
            goal = self._solved(goal, measured, target, counts)
        if goal.joints is not None and self.robot is not None:
            low, high = self.robot().limits_rad.T
            counts.beyond_limits += bool(((goal.joints < low - 1e-6) | (goal.joints > high + 1e-6)).any())
        return goal

    def _solved(self, goal: ArmState, measured: ArmState, target: ArmState, counts: Counts) -> ArmState:
        robot = _known(self.robot, self.target)
        assert goal.position_m is not None and goal.rotation is not None  # the plan made sure
        best: _Solution | None = None
        # along the way first: another posture of the arm may be as near, and would be a jump
        known = [joints for joints in (self._own_joints(target), self._own_joints(measured)) if joints is not None]
        attempts: list[Callable[[np.ndarray, np.ndarray], _Solution]]
        attempts = [functools.partial(robot.solve, start) for start in (*known, robot.home_rad)]
        if (
            not known
        ):  # how the arm stands is not known: a pose far from home is no jump, and may need another beginning
            attempts.append(robot.search)
        for attempt in attempts:
            found = attempt(goal.position_m, goal.rotation)
            if found.reached and any(part.free for part, _ in self.source_parts):
                return self._at(goal, found.joints)  # what the arm cannot follow is not where it will be
            if found.reached:
                return replace(goal, joints=found.joints)
            if best is None or found.position_error_m < best.position_error_m:
                best = found
        assert best is not None
        counts.missed(best.position_error_m, best.rotation_error_rad)
        return self._at(goal, best.joints)

    def _at(self, goal: ArmState, joints: np.ndarray) -> ArmState:
        """`goal` at these joints and where they bring the tool."""
        position, rotation = _known(self.robot, self.target).forward(joints)
        return replace(goal, joints=joints, position_m=position, rotation=rotation)

    def pose(self, state: ArmState) -> Pose:
        """The pose of a state, from its joints where it is not given. Raises LayoutError where neither is known."""
        if state.pose is not None:
            return state.pose
        if (joints := self._own_joints(state)) is None:
            raise LayoutError(f"Neither the pose nor the joints of {arm_name(self.target)} are known here.")
        return Pose(*_known(self.robot, self.target).forward(joints))

    def joints(self, state: ArmState, part: Part) -> np.ndarray:
        """The joints of a state, from its pose where they are not given."""
        if state.joints is not None:
            return state.joints
        robot = _known(self.robot, self.target)
        if state.position_m is None or state.rotation is None:
            raise LayoutError(f"The {part.name} is {part.describe()}, and the arm's joints are not known.")
        return robot.solve(robot.home_rad, state.position_m, state.rotation).joints

    def _own_joints(self, state: ArmState) -> np.ndarray | None:
        """The joints of a state, which may be observed of another robot than the layout names."""
        robot = self.robot
        if state.joints is not None and robot is not None and len(state.joints) != len(robot().home_rad):
            raise LayoutError(
                f"Of {arm_name(self.target)} {len(state.joints)} joints are known, and the robot {robot.name} has "
                f"{len(robot().home_rad)}: one of the two is another robot."
            )
        return state.joints

    def _seen(self, part: Part, pose: Pose) -> Pose:
        """A pose in the arm's base -> in the part's frame."""
        return pose if self.mount is None or part.frame == "base" else pose.within(self.mount)

    def _in_base(self, part: Part, pose: Pose) -> Pose:
        return pose if self.mount is None or part.frame == "base" else pose.seen_from(self.mount)

    def _dt(self, part: Part) -> float:
        if self.dt_s is None:
            raise LayoutError(f"The {part.name} needs the time between two actions, which is not known.")
        return self.dt_s


def can_follow(part: Part, before: ArmState) -> bool:
    """Whether it is known where numbers lead that are carried out as they are, by an arm that is told `before`."""
    if part.kind != "pose":
        absolute = part.kind == "joints" and part.reference == "absolute"
        return absolute or (before.joints is not None and len(before.joints) == part.size)
    if part.unit not in (None, "m") or part.coordinates != "xyz" or part.frame != "base":
        return False
    whole = part.reference == "absolute" and part.rotation != "none"
    return whole or (before.position_m is not None and len(before.position_m) == 3 and before.rotation is not None)


def arm_name(prefix: str) -> str:
    """Of an arm in messages."""
    return f"the arm {prefix!r}" if prefix else "the arm"


def _known(robot: ArmRobot | None, prefix: str) -> Kinematics:
    if robot is None:
        raise LayoutError(f"Which robot {arm_name(prefix)} is is not known; say it with --robot.")
    return robot()
