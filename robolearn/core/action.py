"""`ActionLayout`: what the numbers of an action, or of a measured state of the arms, mean. Description only.

An action is a row of parts: where an arm's tool goes (`pose`) or its joints (`joints`, or how fast: `velocity`), and
how far its gripper opens (`gripper`). `robolearn.kinematics.conversion` turns one layout into another.

A number `n` of a part stands for `offset + scale * n` in the part's unit. What a pose or joints part then says is

    reference     the target is
    absolute      the value itself
    current       what is measured when the action is carried out, moved by the value
    target        the target before it (where the episode begins: what is measured), moved by the value
    observation   what was measured in the newest observation that the chunk was computed from, moved by the value

Joints are moved by addition. A pose (p, R) is moved by (d, D), D the rotation that the rotation numbers stand for:

    axes    position    rotation
    base    p + d       D R         turned about the base's axes, in place
    tool    p + R d     R D         along and about the tool's own axes
    euler   p + d       roll, pitch and yaw of R plus the numbers (`rpy` only; CALVIN)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from robolearn.core.errors import LayoutError, one_line
from robolearn.core.rotation import ROT6D_NAMES

Kind = Literal["pose", "joints", "gripper", "velocity"]
Reference = Literal["absolute", "current", "target", "observation"]
Axes = Literal["base", "tool", "euler"]
Rotation = Literal["none", "rot6d", "axis_angle", "rpy", "quaternion"]
Free = Literal["", "sideways"]

ROTATION_NAMES: dict[str, tuple[str, ...]] = {
    "none": (),
    "rot6d": ROT6D_NAMES,
    "axis_angle": ("rx", "ry", "rz"),
    "rpy": ("roll", "pitch", "yaw"),
    "quaternion": ("qw", "qx", "qy", "qz"),
}
"""Elements of each way to write a rotation. `rpy` turns about the fixed axes x, y, z, in this order."""

_MOTION = ("pose", "joints", "velocity")
_MOST_PARTS, _MOST_NUMBERS, _LONGEST = 128, 1024, 100  # of a layout, of a part, characters of a name
_LARGEST = 1e9  # scale or offset, so that nothing overflows
_DEFAULTS: dict[str, Any] = {
    "arm": "", "reference": "absolute", "axes": "base", "coordinates": "xyz", "rotation": "rot6d", "free": "",
    "unit": None, "frame": "base", "scale": None, "offset": None, "limit": None,
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Consecutive numbers of an action that mean one thing.

    Attributes:
        kind: `pose`, `joints` (rad, or m of a sliding joint), `velocity` (of joints, per second) or `gripper` (opening
            in [0, 1], 1 = open).
        names: one label per number, without the arm's prefix; those of a pose follow from `coordinates` and `rotation`.
        arm: prefix of the arm it belongs to; empty where there is one arm only.
        reference, axes: see the module's text; a gripper and a velocity are absolute.
        coordinates: of the position that a pose gives: "xyz", or "xy" of what moves in a plane.
        rotation: how a pose writes its rotation; "none" = it leaves it as it is.
        free: which rotation of a pose an arm of five joints cannot follow and is given no weight: "sideways", the
            tool's approach axis z tilting out of the vertical plane through the base's z axis and the TCP.
        unit: of positions where it is not the metre, such as "px".
        frame: that positions and rotations are given in.
        scale, offset: see the module's text; None = 1 and 0.
        limit: numbers outside of this range are clipped to it by what carries them out; None = none are.

    Raises LayoutError for fields that contradict each other.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    arm: str = ""
    reference: Reference = "absolute"
    axes: Axes = "base"
    coordinates: str = "xyz"
    rotation: Rotation = "rot6d"
    free: Free = ""
    unit: str | None = None
    frame: str = "base"
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    limit: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in get_args(allowed):
                words = ", ".join(repr(choice) for choice in get_args(allowed))
                raise LayoutError(f"A part has the {name} {one_line(getattr(self, name), 40)!r}; expected {words}.")
        for name in ("arm", "frame", *(() if self.unit is None else ("unit",))):
            _check_text(f"The {name} of a part {self.kind!r}", getattr(self, name))
        if self.kind != "pose":
            # what only a pose has is at its defaults, so that equal parts compare equal
            for name in ("axes", "coordinates", "rotation", "free"):
                object.__setattr__(self, name, _DEFAULTS[name])
        elif self.coordinates not in ("xyz", "xy", ""):
            found = one_line(self.coordinates, 40)
            raise LayoutError(f"A pose has the coordinates {found!r}; expected 'xyz', 'xy' or ''.")
        elif self.reference == "absolute":
            object.__setattr__(self, "axes", _DEFAULTS["axes"])
        if self.kind == "pose":
            names = (*self.coordinates, *ROTATION_NAMES[self.rotation])
            if self.names and tuple(self.names) != names:
                found = one_line(list(self.names), 200)
                raise LayoutError(f"A pose of this kind has the elements {list(names)}, found {found}.")
            object.__setattr__(self, "names", names)
        elif self.kind == "gripper" and not self.names:
            object.__setattr__(self, "names", ("gripper",))
        if isinstance(self.names, str):
            raise LayoutError(f"A part {self.kind!r} needs a list of names, found {one_line(self.names, 60)!r}.")
        object.__setattr__(self, "names", tuple(self.names))
        if len(self.names) > _MOST_NUMBERS:
            raise LayoutError(f"A part {self.kind!r} has at most {_MOST_NUMBERS} numbers, found {len(self.names)}.")
        for name in self.names:
            _check_text(f"A name of a part {self.kind!r}", name)
        if not self.names or len(set(self.names)) != len(self.names):
            found = one_line(list(self.names), 200)
            raise LayoutError(f"A part {self.kind!r} needs a name of its own for each number, found {found}.")
        if self.kind in ("gripper", "velocity") and self.reference != "absolute":
            raise LayoutError(f"A part {self.kind!r} is absolute, found the reference {self.reference!r}.")
        if self.axes == "euler" and self.rotation != "rpy":
            raise LayoutError(
                f"The axes 'euler' add to roll, pitch and yaw: they need the rotation 'rpy', not {self.rotation!r}."
            )
        if self.axes == "tool" and self.coordinates == "xy":
            raise LayoutError("A pose of the coordinates 'xy' moves in a plane, along the axes 'base', not 'tool'.")
        for name in ("scale", "offset"):
            self._set_numbers(name)
        if self.scale is not None and not all(abs(n) >= 1 / _LARGEST for n in self.scale):
            raise LayoutError(
                f"The scale of a part {self.kind!r} must not be 0 or nearly 0, found {one_line(list(self.scale), 60)}."
            )
        if self.limit is not None:
            if len(self.limit) != 2 or not all(map(_is_number, self.limit)):
                raise LayoutError(f"The limit of a part needs two numbers, found {one_line(self.limit, 60)}.")
            low, high = (float(n) for n in self.limit)
            if not low < high:
                raise LayoutError(f"The limit of a part must rise, found {low} to {high}.")
            object.__setattr__(self, "limit", (low, high))

    def _set_numbers(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        listed = tuple([value] * self.size if _is_number(value) else value)
        numbers = tuple(float(n) for n in listed if _is_number(n))
        if not len(numbers) == len(listed) == self.size or not all(abs(n) <= _LARGEST for n in numbers):
            raise LayoutError(
                f"The {name} of a part {self.kind!r} needs {self.size} finite numbers of at most {_LARGEST:g}, found "
                f"{one_line(value, 60)}."
            )
        neutral = 1.0 if name == "scale" else 0.0
        object.__setattr__(self, name, None if all(n == neutral for n in numbers) else numbers)

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def name(self) -> str:
        """Of the part: its arm and kind, "left pose"."""
        return f"{self.arm} {self.kind}".strip()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names with the arm's prefix: "left_x"."""
        return tuple(f"{self.arm}_{name}" if self.arm else name for name in self.names)

    def describe(self) -> str:
        """In a few words: "pose relative to the current one (tool axes, axis_angle)"."""
        words: list[str] = [self.kind]
        if self.reference != "absolute":
            of = {"current": "the current one", "target": "the last target", "observation": "the newest observation"}
            words.append(f"relative to {of[self.reference]}")
        details = []
        if self.kind == "pose":
            if self.reference != "absolute":
                details.append(f"{self.axes} axes")
            if self.coordinates != "xyz":
                details.append(self.coordinates or "no position")
            details.append(self.rotation if self.rotation != "none" else "no rotation")
            if self.free:
                details.append(f"{self.free} free")
        if self.scale is not None or self.offset is not None:
            details.append("scaled")
        if self.limit is not None:
            details.append(f"within {self.limit[0]:g} to {self.limit[1]:g}")
        return " ".join(words) + (f" ({', '.join(details)})" if details else "")

    def to_dict(self) -> dict[str, Any]:
        """A json-ready mapping without what is at its default."""
        fields = {k: v for k, v in asdict(self).items() if k in ("kind", "names") or v != _DEFAULTS[k]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    @classmethod
    def from_dict(cls, mapping: Any) -> Part:
        """The inverse of `to_dict`. Raises LayoutError for what describes no part."""
        if not isinstance(mapping, Mapping):
            raise LayoutError(f"{one_line(mapping, 60)} does not describe a part of an action: expected a map.")
        fields: dict[str, Any] = {str(k): tuple(v) if isinstance(v, list) else v for k, v in mapping.items()}
        try:
            texts = ("kind", "arm", "reference", "axes", "coordinates", "rotation", "free", "frame")
            for name in texts:
                if not isinstance(fields.get(name, ""), str):
                    raise TypeError(f"its {name} is {type(fields[name]).__name__}, expected text")
            for name in ("names", "scale", "offset", "limit"):
                if not isinstance(fields.get(name, ()), tuple | int | float | None):
                    raise TypeError(f"its {name} is {type(fields[name]).__name__}, expected a list")
            return cls(**fields)
        except (TypeError, ValueError, OverflowError) as error:
            raise LayoutError(
                f"{one_line(dict(mapping), 120)} does not describe a part of an action: {one_line(error, 200)}."
            ) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_count(parts: int, robots: int) -> None:
    if max(parts, robots) > _MOST_PARTS:
        raise LayoutError(f"An action has at most {_MOST_PARTS} parts and as many robots, found {parts} and {robots}.")


def _check_text(what: str, text: Any) -> None:
    """Layouts come from files and other machines, and are printed and compared part by part."""
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isprintable():
        raise LayoutError(
            f"{what} must be a printable text of at most {_LONGEST} characters, found {one_line(text, 60)!r}."
        )


_CHOICES: dict[str, Any] = {"kind": Kind, "reference": Reference, "axes": Axes, "rotation": Rotation, "free": Free}


@dataclass(frozen=True)
class ActionLayout:
    """The parts of an action, in the order of its numbers.

    Attributes:
        parts: at most one of `pose`, `joints` and `velocity`, and at most one gripper, for each arm.
        robots: (prefix, name of the robot) of each arm whose robot is known; names are those of
            `robolearn.kinematics.robots`.

    Raises LayoutError where two parts of an arm say the same, or two arms have one prefix.
    """

    parts: tuple[Part, ...]
    robots: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        robots = self.robots.items() if isinstance(self.robots, Mapping) else self.robots
        object.__setattr__(self, "robots", tuple((arm, robot) for arm, robot in robots))
        if not self.parts:
            raise LayoutError("An action needs at least one part, found none.")
        _check_count(len(self.parts), len(self.robots))
        for names in self.robots:
            for name in names:
                _check_text("A robot's prefix or name", name)
        said: dict[tuple[str, str], Part] = {}
        for part in self.parts:
            key = (part.arm, "motion" if part.kind in _MOTION else part.kind)
            if key in said:
                arm = f"arm {part.arm!r}" if part.arm else "the arm without a prefix"
                raise LayoutError(
                    f"Two parts of {arm} say where it goes: {said[key].kind} and {part.kind}; each of several arms "
                    "needs a prefix of its own, and an arm follows one of pose, joints and velocity."
                    if key[1] == "motion"
                    else f"Two grippers belong to {arm}; each of several arms needs a prefix of its own."
                )
            said[key] = part
        if "" in self.arms and len(self.arms) > 1:
            raise LayoutError(f"Of several arms each needs a prefix, found {list(self.arms)}.")
        if len({arm for arm, _ in self.robots}) != len(self.robots):
            raise LayoutError(f"Two robots have one prefix: {list(self.robots)}.")
        for arm, robot in self.robots:
            if arm not in self.arms:
                raise LayoutError(
                    f"The robot {robot!r} is arm {arm!r}, of which no part speaks; arms are {list(self.arms)}."
                )

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """One label per number, with prefixes."""
        return tuple(label for part in self.parts for label in part.labels)

    @property
    def arms(self) -> tuple[str, ...]:
        """Prefixes, in order of first appearance."""
        return tuple(dict.fromkeys(part.arm for part in self.parts))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the numbers of each part are."""
        ends = np.cumsum([part.size for part in self.parts]).tolist()
        return tuple(slice(end - part.size, end) for part, end in zip(self.parts, ends, strict=True))

    def robot(self, arm: str) -> str | None:
        """Name of an arm's robot; None where it is not known."""
        return dict(self.robots).get(arm)

    def motion(self, arm: str) -> Part | None:
        """The part that says where an arm goes."""
        return next((p for p in self.parts if p.arm == arm and p.kind in _MOTION), None)

    def gripper(self, arm: str) -> Part | None:
        return next((p for p in self.parts if p.arm == arm and p.kind == "gripper"), None)

    def slice_of(self, part: Part) -> slice:
        return self.slices[self.parts.index(part)]

    def scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """(A,) scale and (A,) offset of all numbers."""
        scale = [n for part in self.parts for n in (part.scale or (1.0,) * part.size)]
        offset = [n for part in self.parts for n in (part.offset or (0.0,) * part.size)]
        return np.array(scale), np.array(offset)

    def describe(self) -> str:
        """One line: "left: pose (rot6d), gripper; right: joints"; arms that are alike share their words."""
        alike: dict[tuple[str | None, tuple[Part, ...]], list[str]] = {}
        for arm in self.arms:
            parts = tuple(replace(part, arm="") for part in self.parts if part.arm == arm)
            alike.setdefault((self.robot(arm), parts), []).append(arm)
        said = []
        for (robot, parts), arms in alike.items():
            names = " and ".join(filter(None, (", ".join(arms[:-1]), arms[-1])))
            head = " ".join(filter(None, (names, f"({robot})" if robot else "")))
            words = ", ".join(part.describe() for part in parts)
            said.append(f"{head}: {words}" if head else words)
        return "; ".join(said)

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"parts": [part.to_dict() for part in self.parts]}
        return found | ({"robots": dict(self.robots)} if self.robots else {})

    @classmethod
    def from_dict(cls, mapping: Any) -> ActionLayout:
        """The inverse of `to_dict`. Raises LayoutError for what describes no layout."""
        parts = mapping.get("parts") if isinstance(mapping, Mapping) else None
        robots = mapping.get("robots", {}) if isinstance(mapping, Mapping) else {}
        unknown = set(mapping) - {"parts", "robots"} if isinstance(mapping, Mapping) else set()
        if not isinstance(parts, list | tuple) or not isinstance(robots, Mapping) or unknown:
            raise LayoutError(f"{one_line(mapping, 120)} does not describe an action: expected 'parts' and 'robots'.")
        _check_count(len(parts), len(robots))
        return cls(tuple(Part.from_dict(part) for part in parts), tuple(robots.items()))
