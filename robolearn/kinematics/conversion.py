"""`conversion`: how actions in one layout are turned into another one, exactly, or why they cannot be.

pose <-> pose           references, axes, ways to write a rotation, scales and frames
pose -> joints          inverse kinematics, warm-started from the target before; needs to know the robot
joints -> pose          forward kinematics; needs to know the robot
joints <-> velocity     over the time between two actions, from the target before; needs that time
gripper <-> gripper     scales
one arm <-> of several  the others hold their last targets; which one must be said
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import LayoutError
from robolearn.core.rotation import quaternion_to_matrix
from robolearn.kinematics.arm_conversion import ArmConversion, ArmRobot, How, Kinematics, arm_name
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.part_match import motion_conversion, part_words
from robolearn.kinematics.pose import Pose
from robolearn.kinematics.state import ArmState


class Mounted(Protocol):
    """Where an arm stands; `robolearn.kinematics.mounted.MountedRobot` is one."""

    @property
    def prefix(self) -> str: ...
    @property
    def robot_name(self) -> str: ...
    @property
    def position_m(self) -> Any: ...
    @property
    def quaternion(self) -> Any: ...


@dataclass(frozen=True)
class Conversion:
    """Of actions in the layout `source` into the layout `target`; see `conversion`.

    Attributes:
        arms: one conversion for each arm of the target.
        dropped: prefixes of the source's arms that nothing is told.
        mounted, dt_s, kinematics: see `conversion`.
    """

    source: ActionLayout
    target: ActionLayout
    arms: tuple[ArmConversion, ...]
    dropped: tuple[str, ...] = ()
    mounted: tuple[Mounted, ...] = ()
    dt_s: float | None = None
    kinematics: Callable[[str], Kinematics] | None = None

    @property
    def identity(self) -> bool:
        """Whether actions stay as they are, to the bit."""
        return self.source.parts == self.target.parts

    @property
    def description(self) -> str:
        """One line: what is turned into what."""
        said = f"actions are taken as they are: {self.target.describe()}"
        if not self.identity:
            said = f"actions are converted: {self.source.describe()} -> {self.target.describe()}"
        return "; ".join([said, *self.notes])

    @property
    def notes(self) -> list[str]:
        """What has to be said of actions that stay as they are, too."""
        notes = [f"{arm_name(arm.target)} holds its last target" for arm in self.arms if arm.source is None]
        notes += [f"{arm_name(arm)} of the actions is dropped" for arm in self.dropped]
        for arm in self.arms:
            meant = None if arm.source is None else self.source.robot(arm.source)
            if meant and arm.robot is not None and arm.robot.name != meant:
                notes.append(f"poses that are meant for the robot {meant} are those of {arm.robot.name}")
        return notes

    def between(self, source: ActionLayout, target: ActionLayout) -> Conversion:
        """Another conversion for the same arms, of which `target` has no more than this one's."""
        arm = None if len(source.arms) == len(target.arms) else self.arms[0].source
        return conversion(source, target, arm, mounted=self.mounted, dt_s=self.dt_s, kinematics=self.kinematics)

    def convert(
        self,
        action: np.ndarray,
        measured: Mapping[str, ArmState],
        target: Mapping[str, ArmState],
        counts: Counts | None = None,
    ) -> tuple[np.ndarray, dict[str, ArmState]]:
        """One action (A,) of the source -> (B,) of the target, float64, and each arm's new target.

        Args:
            measured: state of each arm when the action is carried out, by the prefix in either layout.
            target: what each arm was told last, where an episode begins what is measured; by the target's prefixes.
            counts: what is not exact is counted there.

        Raises LayoutError for numbers that are not finite, and where the states do not say what a part is relative to.
        """
        counts = Counts() if counts is None else counts
        numbers = np.asarray(action, dtype=np.float64)
        if numbers.shape != (self.source.size,):
            raise LayoutError(f"An action has shape {numbers.shape}, expected ({self.source.size},).")
        if not np.isfinite(numbers).all():
            bad = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise LayoutError(
                f"An action holds {numbers[bad]} at {self.source.names[bad]}; expected finite numbers. It is not "
                "converted."
            )
        counts.steps += 1
        out, reached = np.empty(self.target.size), {}
        for arm in self.arms:
            here = measured.get(arm.target, measured.get(arm.source or "", ArmState()))
            last = target.get(arm.target, here)
            if self.identity:
                reached[arm.target] = arm.watch(numbers, here, last, counts)
            else:
                reached[arm.target] = arm.convert(numbers, here, last, out, counts)
        return (np.asarray(action) if self.identity else out), reached


def conversion(
    source: ActionLayout,
    target: ActionLayout,
    arm: str | None = None,
    *,
    mounted: Sequence[Mounted] = (),
    dt_s: float | None = None,
    kinematics: Callable[[str], Kinematics] | None = None,
) -> Conversion:
    """How actions of the layout `source` become those of the layout `target`.

    Args:
        arm: of one arm and several: which of the several it is; by default, of the source's only arm, the one of its
            prefix. The others hold their last targets, or, where the several are the source, what they were told is
            dropped.
        mounted: where arms stand, for frames, and which robots they are, where the layouts do not say it.
        dt_s: between two actions, for velocities.
        kinematics: of a robot's name; those of the registry by default.

    Raises LayoutError with the reason, which part it is and which layout could be converted, where that is not exact.
    """
    pairs, dropped = _pairs(source, target, arm)
    places = {robot.prefix: robot for robot in mounted}
    arms = []
    for ours, theirs in pairs:
        place = places.get(theirs) or places.get(ours or "")
        arms.append(_arm(source, target, ours, theirs, place, dt_s, kinematics))
    return Conversion(source, target, tuple(arms), dropped, tuple(mounted), dt_s, kinematics)


def absolute(layout: ActionLayout) -> ActionLayout:
    """`layout` with what is relative to the newest observation made absolute: of as many numbers, unscaled."""

    def grounded(part: Part) -> Part:
        if part.reference != "observation":
            return part
        return replace(part, reference="absolute", scale=None, offset=None, limit=None)

    return replace(layout, parts=tuple(grounded(part) for part in layout.parts))


def _pairs(
    source: ActionLayout, target: ActionLayout, arm: str | None
) -> tuple[list[tuple[str | None, str]], tuple[str, ...]]:
    """(arm of the source, arm of the target) of each arm of the target, and the arms that are dropped."""
    ours, theirs = source.arms, target.arms
    if arm is not None and len(ours) == len(theirs) == 1 and arm in (*ours, *theirs):
        arm = None
    if arm is None and len(ours) == 1 < len(theirs) and ours[0] in theirs:
        arm = ours[0]
    if arm is None:
        if len(ours) == len(theirs) == 1:
            return [(ours[0], theirs[0])], ()
        if set(ours) == set(theirs):
            return [(prefix, prefix) for prefix in theirs], ()
        raise LayoutError(
            f"Actions are of {_listed(ours)}, taken are those of {_listed(theirs)}. Say with --arm which one of "
            f"{_listed(max(ours, theirs, key=len))} it is: arms that are told nothing hold their last "
            "target, what is said to arms that are not there is dropped."
            if 1 in (len(ours), len(theirs))
            else f"Actions are of {_listed(ours)}, taken are those of {_listed(theirs)}: which is which is not said."
        )
    several, one = (ours, theirs) if len(ours) > len(theirs) else (theirs, ours)
    if len(one) != 1 or len(several) < 2:
        raise LayoutError(
            f"--arm {arm} says which of several arms one is: actions are of {_listed(ours)}, taken are those of "
            f"{_listed(theirs)}."
        )
    if arm not in several:
        raise LayoutError(f"--arm {arm} is none of {_listed(several)}.")
    if several is theirs:
        return [(ours[0] if prefix == arm else None, prefix) for prefix in theirs], ()
    return [(arm, theirs[0])], tuple(prefix for prefix in ours if prefix != arm)


def _arm(
    source: ActionLayout,
    target: ActionLayout,
    ours: str | None,
    theirs: str,
    place: Mounted | None,
    dt_s: float | None,
    kinematics: Callable[[str], Kinematics] | None,
) -> ArmConversion:
    """How what the source says of its arm `ours` (None: nothing) becomes what the target says of its arm `theirs`."""
    here = target.robot(theirs) or (place.robot_name if place is not None else None)
    written_for = source.robot(ours) if ours is not None else None
    mount = None if place is None else Pose(np.asarray(place.position_m, float), quaternion_to_matrix(place.quaternion))
    name = here or written_for
    motion, gripper = target.motion(theirs), target.gripper(theirs)
    how: How = "through its goal"
    of_gripper: How = "through its goal"
    told: list[Part] = []
    if ours is not None:
        have, held = source.motion(ours), source.gripper(ours)
        for what, one, other in (("where it goes", have, motion), ("how far its gripper opens", held, gripper)):
            if (one is None) != (other is None):
                says, lacks = "the actions say", "what takes them does not ask it"
                if one is None:
                    says, lacks = "the actions do not say", "what takes them asks it"
                raise LayoutError(f"Of {arm_name(theirs)} {says} {what}, {lacks}.")
        if have is not None and motion is not None:
            if have.kind != "pose" and here and written_for and here != written_for:
                raise LayoutError(
                    f"{part_words(have)} of the robot {written_for} cannot be converted for the robot {here}: joints "
                    "are another robot's. Poses can: `robolearn dataset relabel --action pose` writes them."
                )
            how = motion_conversion(have, motion, name, mount, dt_s, _joints_of if kinematics is None else None)
        if held is not None and gripper is not None:
            of_gripper = "as they are" if replace(held, arm=theirs) == gripper else "scaled"
        told = [part for part in (have, held) if part is not None]
    return ArmConversion(
        ours,
        theirs,
        tuple((part, source.slice_of(part)) for part in told),
        tuple((part, target.slice_of(part)) for part in (motion, gripper) if part is not None),
        how,
        of_gripper,
        mount,
        dt_s,
        None if name is None else ArmRobot(name, kinematics),
    )


def _joints_of(name: str) -> tuple[str, ...]:
    """Raises ConfigError for an unknown robot."""
    from robolearn.kinematics.robots import robot

    return robot(name).joints


def _listed(arms: tuple[str, ...]) -> str:
    return "one arm" if arms == ("",) else f"the arm {arms[0]!r}" if len(arms) == 1 else f"the arms {list(arms)}"
