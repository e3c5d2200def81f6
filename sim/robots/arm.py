"""`Arm`: one robot of a simulation, with position servos in its joints and its fingers."""

from __future__ import annotations

import mujoco
import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robot import TCP_SITE
from robolearn.sim.robots.attach import servo_name


class Arm:
    """Where one arm is found in a simulation. Poses are in the frame of its own base.

    Attributes:
        mounted: the robot, and where its base stands.
        prefix: of its names and of its parts of an action; empty where there is one arm.
        low_rad, high_rad: (J,) limits of its joints.
        root: name of the body that stands in the world.
        joints_rad: (J,) measured, always the newest.
        targets_rad: (J,) what its servos were told, always the newest.

    Raises ConfigError for a model with other joints between those of the arm.
    """

    def __init__(self, mounted: MountedRobot, model: mujoco.MjModel, data: mujoco.MjData):
        self.mounted, self.prefix = mounted, mounted.prefix
        joints = [model.joint(mounted.named(name)) for name in mounted.joint_names]
        self.root = model.body(int(model.body_rootid[model.jnt_bodyid[joints[0].id]])).name
        servos = [int(model.actuator(mounted.named(servo_name(name))).id) for name in mounted.joint_names]
        limits = [joint.range if joint.limited[0] else (-np.inf, np.inf) for joint in joints]
        self.low_rad, self.high_rad = np.array(limits).T
        places = [int(joint.qposadr[0]) for joint in joints]
        if places != list(range(places[0], places[0] + len(places))):
            raise ConfigError(
                f"The model of the robot {mounted.robot_name!r} has other joints between {list(mounted.joint_names)}; "
                "put them behind those in its file: what moves beside the arm comes after what the arm moves."
            )
        self.joints_rad = _view(data.qpos, places)
        self.velocity_rad_s = _view(data.qvel, [int(joint.dofadr[0]) for joint in joints])
        self.targets_rad = _view(data.ctrl, servos)
        site = model.site(mounted.named(TCP_SITE)).id
        self._position, self._orientation = data.site_xpos[site], data.site_xmat[site]
        self._qpos, self._ctrl = data.qpos, data.ctrl
        self._fingers: np.ndarray | None = None
        if (gripper := mounted.robot.gripper) is not None:
            closed, opened = np.array(gripper.closed), np.array(gripper.open)
            self._closed, self._span = closed, opened - closed
            fingers = [model.joint(mounted.named(name)) for name in gripper.joints]
            self._fingers = np.array([int(joint.qposadr[0]) for joint in fingers])
            self._finger_servos = np.array(
                [int(model.actuator(mounted.named(servo_name(name))).id) for name in gripper.joints]
            )
            self._closed_m = gripper.apart_m(0.0)
            self._way_m = gripper.apart_m(1.0) - self._closed_m
            # the mean opening of all fingers, each along its own way
            self._sign, self._width = np.sign(self._span).tolist(), float(np.abs(self._span).sum())
        self._base_position, self._base_rotation = np.array(mounted.position_m), mounted.rotation
        self._at_origin = not self._base_position.any() and np.array_equal(self._base_rotation, np.eye(3))

    def tcp_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and rotation (3, 3) of the tool centre point, as measured."""
        position, rotation = self._position.copy(), self._orientation.reshape(3, 3).copy()
        if self._at_origin:
            return position, rotation
        return self._base_rotation.T @ (position - self._base_position), self._base_rotation.T @ rotation

    def tcp_position_in_world(self) -> np.ndarray:
        """(3,) [m]."""
        return self._position.copy()

    def opening(self) -> float:
        """Of the gripper, measured, in [0, 1], 1 = open; of an arm without one 1."""
        if self._fingers is None:
            return 1.0
        way = 0.0
        for place, closed, sign in zip(
            self._qpos[self._fingers].tolist(), self._closed.tolist(), self._sign, strict=True
        ):
            way += sign * (place - closed)
        return min(max(way / self._width, 0.0), 1.0)

    def target_opening(self) -> float:
        """What the gripper was told, in [0, 1]; of an arm without one 1."""
        if self._fingers is None:
            return 1.0
        return float(np.mean((self._ctrl[self._finger_servos] - self._closed) / self._span))

    def fingers_apart_m(self) -> float:
        """How far apart the fingers of the gripper are, measured; of an arm without one 0."""
        return self._closed_m + self.opening() * self._way_m if self.has_gripper else 0.0

    @property
    def has_gripper(self) -> bool:
        return self._fingers is not None

    def set_targets(self, joints_rad: np.ndarray) -> None:
        """Tell the servos of the joints where to go (J,)."""
        self.targets_rad[:] = joints_rad

    def set_opening(self, opening: float) -> None:
        """Tell the fingers how far to open, in [0, 1]."""
        if self._fingers is not None:
            targets = opening * self._span
            self._ctrl[self._finger_servos] = targets + self._closed if self._closed.any() else targets

    def put(self, joints_rad: np.ndarray, opening: float) -> None:
        """Put the joints and fingers themselves somewhere, at rest, and let the servos hold them there."""
        self.joints_rad[:] = joints_rad
        self.set_targets(joints_rad)
        self.set_opening(opening)
        if self._fingers is not None:
            self._qpos[self._fingers] = self._ctrl[self._finger_servos]


def _view(numbers: np.ndarray, places: list[int]) -> np.ndarray:
    """The numbers at places that follow one another, as a view that stays the newest."""
    return numbers[places[0] : places[0] + len(places)]
