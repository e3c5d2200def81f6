"""`PlanarWorld`: a world in whose plane something moves that takes poses of x and y."""

from __future__ import annotations

from robolearn.core.action import ActionLayout
from robolearn.sim.engine.planar import planar_layout, planar_refusal
from robolearn.sim.engine.world import World


class PlanarWorld(World):
    """A subclass says what there is, in `compose`, and what moves, in `controller`; by default actions are relative to
    the last target."""

    def layout(self, action: str | None = None) -> ActionLayout:
        return planar_layout(action)

    def refusal(self, layout: ActionLayout) -> str | None:
        return planar_refusal(layout)
