"""`PlanarController`: carries out actions that say where something in the plane should go, or how far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import LayoutError
from robolearn.kinematics.pose import values_of


class PlanarController:
    """See the module's text.

    Args:
        layout: one pose of x and y in the world, which `planar_refusal` has nothing against.
        commanded, measured: views (2,) of where it was told to be and where it is [m].
        shift: moves the command by (2,) [m], as far as that is allowed.
    """

    out_of_reach = outside_workspace = 0

    def __init__(
        self,
        layout: ActionLayout,
        commanded: np.ndarray,
        measured: np.ndarray,
        shift: Callable[[np.ndarray], None],
    ):
        self.layout = layout
        self._part, self._commanded, self._measured, self._shift = layout.parts[0], commanded, measured, shift
        self._is_shift = self._part.reference == "target"

    def reset(self) -> None:
        pass

    def set_target(self, action: np.ndarray) -> None:
        values = values_of(self._part, action)
        if not self._is_shift:
            start = self._measured if self._part.reference == "current" else 0.0
            values = start + values - self._commanded
        self._shift(values)


def planar_layout(action: str | None) -> ActionLayout:
    """One pose of x and y: relative to the last target, or as the dialect says. Raises LayoutError for other kinds."""
    dialect = Dialect.parse("pose.target" if action is None else action)
    if dialect.kind != "pose" or dialect.limit is not None:  # numbers of other units, for instance CALVIN's
        raise LayoutError(f"What moves in a plane takes poses of x and y, not {dialect.name!r}.")
    return ActionLayout(
        (
            Part(
                "pose", reference=dialect.reference, axes=dialect.axes, coordinates="xy", rotation="none", frame="world"
            ),
        )
    )


def planar_refusal(layout: ActionLayout) -> str | None:
    """Why actions of a layout cannot be carried out by what moves in a plane; None where they can."""
    part = layout.parts[0]
    fits = (part.kind, part.coordinates, part.rotation, part.frame, part.unit) == ("pose", "xy", "none", "world", None)
    if len(layout.parts) > 1 or not fits or part.arm:
        return "what moves there takes one pose of x and y in the world, in m"
    if part.reference == "observation":
        return "it is relative to the newest observation, of which an environment knows nothing"
    return None
