"""avoiding: move a rod over a table between three rows of posts and across the goal line, without touching any.

After the Avoiding task of D3IL (Jia et al., ICLR 2024), without the arm: what matters is that there are 24 ways.
`robolearn.sim.worlds.posts` draws the table.

Start state: always the same. Success: the rod's centre crosses the goal line. Any touch of a post ends the episode.
Behaviour mode: the passage taken in each row, counted from the left, "0-2-3" for example; 2 x 3 x 4 = 24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import mujoco
import numpy as np

from robolearn.core.feature import Feature
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.task import Task
from robolearn.sim.observables.observable import Observable
from robolearn.sim.worlds.posts import CAMERA, GOAL_Y_M, ROWS_M, Posts

MODES = tuple("-".join(map(str, path)) for path in product(*(range(len(posts) + 1) for _, posts in ROWS_M)))

_SUBSTEPS = 7
_NAMES = ("command_x", "command_y", "x", "y")


class Avoiding(Task):
    """See the module's text.

    Observations: `observation.state` (4,) commanded and measured position of the rod [m]. Action (2,): change of the
    commanded position [m], at most 15 mm an axis. `info["score"]` is the share of the rows and the goal line that were
    passed, `info["contact"]` whether a post was touched; its mode is None until all rows are passed.
    """

    name = "avoiding"
    language = "move the rod past the posts and over the line, without touching any"
    scene_version = "avoiding-1"
    control_hz = 1.0 / (Posts.timestep_s * _SUBSTEPS)  # 28.6
    any_rate = False
    max_steps = 250
    modes = len(MODES)
    video_camera = CAMERA

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.world = Posts()

    def bind(self, sim: Simulation) -> None:
        super().bind(sim)
        # whether a post was touched; the passage taken in each row, from 1, or 0
        self._events, self._place = sim.data.userdata, sim.data.qpos
        self._before_y = 0.0

    def start(self, rng: np.random.Generator) -> None:
        """Its number tells rollouts of a policy apart, nothing else."""
        self._before_y = float(self._place[1])

    def observables(self) -> Sequence[Observable]:
        rate = self.control_hz
        feature = Feature("observation.state", (4,), names=_NAMES, unit="m", frame="world", rate_hz=rate)
        command, place = self.sim.data.ctrl, self._place
        return (Observable(feature, lambda: np.concatenate((command, place))),)

    def advance(self, substeps: int) -> None:
        model, data, touched = self.sim.model, self.sim.data, False
        for _ in range(substeps):  # one by one: a touch may be over before the next action
            mujoco.mj_step(model, data)
            touched = touched or data.ncon > 0
        if touched:
            self._events[0] = 1.0

    def note(self) -> None:
        before, (x, y) = self._before_y, self._place.tolist()
        self._before_y = y
        for row, (row_y, posts) in enumerate(ROWS_M, start=1):
            if before < row_y <= y:
                self._events[row] = 1 + np.searchsorted(posts, x)

    def set_events(self, events: np.ndarray) -> None:
        """They are in the physics' own state; only where the rod is, is noted."""
        self._before_y = float(self._place[1])

    def info(self) -> dict[str, Any]:
        contact, *passages = self._events.tolist()
        success = bool(self._place[1] >= GOAL_Y_M) and not contact
        mode = "-".join(f"{passage - 1:.0f}" for passage in passages) if all(passages) else None
        passed = sum(passage > 0 for passage in passages) + success
        return {"success": success, "mode": mode, "score": passed / (len(ROWS_M) + 1), "contact": bool(contact)}

    def reward(self, info: Mapping[str, Any], score_before: float) -> float:
        return float(info["score"])

    def ended(self, info: Mapping[str, Any]) -> bool:
        return bool(info["success"] or info["contact"])
