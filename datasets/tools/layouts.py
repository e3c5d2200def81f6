"""What the features of a dataset say of robots, of what their numbers mean, and of units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.feature import Feature
from robolearn.datasets.format.layout import Json

_ROTATIONS = {"axis_angle": "rad", "rpy": "rad"}


def units_of(layout: ActionLayout) -> tuple[str, ...]:
    """What the number 1 of each element stands for: "m", "0.05 m", "rad/s"; "" of rotations by 6 or 4 numbers."""
    return tuple(unit for part in layout.parts for unit in _units(part))


def _units(part: Part) -> Iterable[str]:
    plain = {"joints": part.unit or "rad", "velocity": f"{part.unit or 'rad'}/s", "gripper": "opening"}
    kinds = [plain.get(part.kind, "")] * part.size
    if part.kind == "pose":
        moved = len(part.coordinates)
        kinds = [part.unit or "m"] * moved + [_ROTATIONS.get(part.rotation, "")] * (part.size - moved)
    for unit, scale in zip(kinds, part.scale or (1.0,) * part.size, strict=True):
        yield unit if scale == 1.0 else f"{scale:g} {unit}".rstrip()


def describe_layouts(features: Iterable[Feature], simulated: Mapping[str, Any] | None = None) -> Json:
    """Json-ready: `robots`, arm's prefix -> name, or name -> version of the `simulated` environment where no feature
    says which; and `layouts`, of every action and of whatever else says what it means.

    Each of `layouts` has `layout` (None where nothing says it), `described`, `units`, and `stored`, False where it
    follows from the names of the elements.
    """
    robots: dict[str, str] = {}
    layouts: Json = {}
    for feature in features:
        found = layout_of(feature)
        if found is None:
            if feature.kind == "action":
                layouts[feature.name] = {"layout": None, "described": None, "units": None, "stored": False}
            continue
        for arm, robot in found.robots:
            robots.setdefault(arm, robot)
        layouts[feature.name] = {
            "layout": found.to_dict(),
            "described": ActionLayout(found.parts).describe(),  # robots are told by themselves
            "units": list(units_of(found)),
            "stored": feature.layout is not None,
        }
    if not robots and simulated:
        robots = {"": ", ".join(map(str, simulated.get("robots") or {}))} if simulated.get("robots") else {}
    return {"robots": robots, "layouts": layouts}


def robots_text(robots: Mapping[str, str]) -> str | None:
    """ "panda", or "left: panda, right: panda"."""
    return ", ".join(f"{arm}: {robot}" if arm else robot for arm, robot in robots.items()) or None


def layouts_text(path: str, layouts: Mapping[str, Json]) -> list[str]:
    """A line for each: "action  pose (rot6d), gripper"."""
    lines = []
    for name, found in layouts.items():
        if found["described"] is None:
            lines.append(
                f"{name}: not said; a copy that says it: robolearn dataset features {path} --layout {name}=LAYOUT "
                "--output COPY"
            )
        else:
            lines.append(f"{name}: {found['described']}{'' if found['stored'] else ' (by its names)'}")
    return lines
