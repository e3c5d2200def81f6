"""`Simulation`: a compiled world that runs, with names for what tasks ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from robolearn.kinematics.mounted import MountedRobot
from robolearn.sim.robots.arm import Arm


class Body:
    """A body of the model: where it is, and for a free one or a mocap one, where it is put.

    Attributes:
        position_m: (3,) in the world, always the newest.
        orientation: (9,) rotation matrix, row by row, always the newest.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, name: str):
        body = model.body(name)
        self.name, self.id = name, int(body.id)
        self.position_m, self.orientation = data.xpos[self.id], data.xmat[self.id]
        joint = int(body.jntadr[0]) if body.jntnum[0] else -1
        self._free = joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
        if self._free:
            place, speed = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
            self._place, self._quaternion = data.qpos[place : place + 3], data.qpos[place + 3 : place + 7]
            self._velocity = data.qvel[speed : speed + 3]
        elif (mocap := int(body.mocapid[0])) >= 0:
            self._place, self._quaternion = data.mocap_pos[mocap], data.mocap_quat[mocap]

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) in the world."""
        return self.orientation.reshape(3, 3)

    @property
    def velocity_m_s(self) -> np.ndarray:
        """(3,) of a free body, in the world."""
        return self._velocity

    def place(self, position_m: Sequence[float] | np.ndarray, quaternion: np.ndarray | None = None) -> None:
        """Put a free or a mocap body somewhere; what follows from it is computed with the next forward pass."""
        self._place[:] = position_m
        if quaternion is not None:
            self._quaternion[:] = quaternion


class Simulation:
    """A model, its state, and the arms in it.

    Attributes:
        arms: in the order of the world's.
    """

    def __init__(self, model: mujoco.MjModel, mounted: Sequence[MountedRobot]):
        self.model, self.data = model, mujoco.MjData(model)
        self.arms = tuple(Arm(robot, model, self.data) for robot in mounted)
        self.by_prefix: Mapping[str, Arm] = {arm.prefix: arm for arm in self.arms}

    @property
    def arm(self) -> Arm:
        """The first, which in most worlds is the only one."""
        return self.arms[0]

    def body(self, name: str) -> Body:
        return Body(self.model, self.data, name)

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return float(self.data.time)

    def forward(self) -> None:
        """Compute everything that follows from the state."""
        mujoco.mj_forward(self.model, self.data)

    def advance(self, substeps: int) -> None:
        """Let physics steps pass. Positions of bodies and sites stay one step behind."""
        mujoco.mj_step(self.model, self.data, nstep=substeps)

    def settle(self) -> None:
        """Bring positions of bodies, sites and geoms up to the joints'."""
        mujoco.mj_kinematics(self.model, self.data)
