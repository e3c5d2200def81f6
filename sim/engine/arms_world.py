"""`ArmsWorld`: a world whose arms take every layout that their robots take."""

from __future__ import annotations

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import Dialect
from robolearn.sim.engine.controller import ArmsController, arms_refusal
from robolearn.sim.engine.motions import Workspace
from robolearn.sim.engine.pose_solver import ArmSolver, PoseSolver
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.world import World
from robolearn.sim.robots.arm import Arm


class ArmsWorld(World):
    """A subclass says what there is, in `compose`; by default actions are absolute poses of each arm."""

    def layout(self, action: str | None = None) -> ActionLayout:
        return Dialect.parse("pose" if action is None else action).layout(self.arms)

    def refusal(self, layout: ActionLayout) -> str | None:
        return arms_refusal(layout, self.arms)

    def solver(self, arm: Arm, part: Part, simulation: Simulation) -> PoseSolver:
        """What finds joints for the poses that a part of an action asks of an arm."""
        return ArmSolver(arm.mounted.robot)

    def controller(self, layout: ActionLayout, simulation: Simulation, control_hz: float) -> ArmsController:
        def solver(arm: Arm, part: Part) -> PoseSolver:
            return self.solver(arm, part, simulation)

        workspace = Workspace(self.workspace_low_m, self.workspace_high_m)
        return ArmsController(layout, simulation.by_prefix, solver, workspace, 1.0 / control_hz)
