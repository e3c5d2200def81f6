"""Whether numbers are what their layout says: rotations, openings in [0, 1], joints of the robot that is named, within
the limits of layout and robot. Limits of robots are looked up where their files are on this machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import RobolearnError
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.survey import EpisodeView, Survey
from robolearn.kinematics.robots import robot

NO_ROTATION = 0.02  # by which rows of a rotation may differ from length 1 and from a right angle, a quaternion from 1
OPEN = 0.02  # fingers are soft: by which a measured opening may lie outside of [0, 1]
SLACK = 0.02  # rad; simulated joints are pressed a little beyond their ends
_REACHED = 1e-4  # of rounding, at the end of a range


@dataclass
class _Seen:
    """Steps in which something is not as it should be, over all episodes."""

    remedy: str
    what: str = ""
    steps: int = 0
    bad: int = 0
    worst: float = 0.0
    place: tuple[int, int] | None = None

    def add(self, what: str, amount: np.ndarray, allowed: float, episode: int) -> None:
        """`amount` (T,) by which each step misses; more than `allowed` is counted. `what` is told of the worst."""
        bad = np.flatnonzero(amount > allowed)
        self.steps += len(amount)
        self.bad += len(bad)
        if len(bad):
            if amount.max() > self.worst:
                self.what, self.worst = what, float(amount.max())
            self.place = self.place or (episode, int(bad[0]))


class Layouts(Check):
    name = "layout"

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], _Seen] = {}
        self._layouts: dict[str, ActionLayout] = {}
        self._limits: dict[tuple[str, str], tuple[str, np.ndarray]] = {}

    def start(self, survey: Survey) -> Iterator[Finding]:
        found = {name: layout_of(feature) for name, feature in survey.features.items()}
        self._layouts = {name: layout for name, layout in found.items() if layout is not None}
        simulated = list((survey.metadata.attributes.get("sim", {}).get("env") or {}).get("robots") or ())
        for name, layout in self._layouts.items():
            for arm in layout.arms:
                known = layout.robot(arm) or (simulated[0] if len(simulated) == len(layout.arms) == 1 else None)
                motion = layout.motion(arm)
                if known is not None and motion is not None:
                    yield from self._joints_of(name, motion, str(known))

    def _joints_of(self, name: str, motion: Part, known: str) -> Iterator[Finding]:
        """Keep the limits of the robot's joints, and say what does not fit."""
        try:
            found = robot(known)
        except RobolearnError as error:
            yield self._said(name, f"{motion.name}: {error}")
            return
        if motion.kind != "joints":
            return
        if motion.names != found.joints:
            yield self._said(
                name,
                f"{motion.name}: they are called {', '.join(motion.names)}; those of {known} {', '.join(found.joints)}",
            )
        elif motion.reference == "absolute" and found.is_present:
            with contextlib.suppress(RobolearnError, ImportError):
                from robolearn.kinematics.arm import ArmKinematics

                self._limits[name, motion.name] = (known, ArmKinematics(found).limits_rad)

    def _said(self, feature: str, message: str) -> Finding:
        return Finding(severity="warning", check=self.name, feature=feature, file=f"data/{feature}", message=message)

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        for name, key in view.signals():
            layout = self._layouts.get(name)
            rows = view.rows(key) if layout is not None else None
            if layout is None or rows is None or not len(rows) or not np.isfinite(rows).all():
                continue
            for part, columns in zip(layout.parts, layout.slices, strict=True):
                self._look(name, part, rows[:, columns].astype(np.float64), view.index)
        return iter(())

    def _look(self, name: str, part: Part, numbers: np.ndarray, episode: int) -> None:
        if part.limit is not None:
            told = f"outside of {part.limit[0]:g} to {part.limit[1]:g}: what carries them out clips them"
            amount = np.maximum(part.limit[0] - numbers, numbers - part.limit[1]).max(axis=1)
            self._note(name, part, "limit", told, "", amount, _REACHED, episode)
            numbers = np.clip(numbers, *part.limit)
        values = numbers * (part.scale or 1.0) + (part.offset or 0.0)
        if part.kind == "gripper":
            told = "outside of [0, 1], of which 1 is open"
            amount = np.maximum(-values, values - 1.0).max(axis=1)
            self._note(name, part, "opening", told, "does the layout say how they are scaled?", amount, OPEN, episode)
        elif (name, part.name) in self._limits:
            known, limits = self._limits[name, part.name]
            beyond = np.maximum(limits[:, 0] - values, values - limits[:, 1])
            worst = part.names[int(beyond.max(axis=0).argmax())]
            told = f"beyond the limits of {known}'s joints, farthest of {worst}"
            self._note(name, part, "joints", told, "is their unit the radian?", beyond.max(axis=1), SLACK, episode)
        elif part.kind == "pose" and part.rotation in ("rot6d", "quaternion"):
            rotation = values[:, len(part.coordinates) :]
            told = {"rot6d": "no rotation: its two rows are not of length 1 and at right angles",
                    "quaternion": "no rotation: the quaternion is not of length 1"}[part.rotation]  # fmt: skip
            remedy = "averaged, clipped or scaled ones are made rotations again, and differ"
            self._note(name, part, "rotation", told, remedy, _off_rotation(rotation), NO_ROTATION, episode)

    def _note(
        self, name: str, part: Part, kind: str, told: str, remedy: str, amount: np.ndarray, allowed: float, episode: int
    ) -> None:
        key = (name, part.name, kind)
        self._seen.setdefault(key, _Seen(remedy)).add(told, amount, allowed, episode)

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for (name, part, _), seen in self._seen.items():
            if seen.place is None:
                continue
            share = f"{seen.bad} of {seen.steps} steps"
            more = f"; {seen.remedy}" if seen.remedy else ""
            yield Finding(
                severity="warning", check=self.name, feature=name, file=f"data/{name}", episode=seen.place[0],
                step=seen.place[1], message=f"{part}: {share} are {seen.what} (by up to {seen.worst:.3g}){more}",
            )  # fmt: skip


def _off_rotation(rows: np.ndarray) -> np.ndarray:
    """(T,) how far (T, 6) two rows of a matrix, or (T, 4) a quaternion, are from those of a rotation."""
    if rows.shape[1] == 4:
        return np.abs(np.linalg.norm(rows, axis=1) - 1.0)
    first, second = rows[:, :3], rows[:, 3:]
    lengths = np.abs(np.linalg.norm(np.stack([first, second]), axis=2) - 1.0).max(axis=0)
    return np.maximum(lengths, np.abs(np.sum(first * second, axis=1)))
