"""Franka Panda with its hand, from robosuite's MJCF files, as a position-servoed arm.

What changes against robosuite's model: torque motors become position servos inside MuJoCo (gains of a stiff
joint impedance controller), gravity is compensated on every link, as the real arm's controller does, and the
dense visual meshes are left out: the collision-grade meshes are drawn instead (about 20 times fewer
triangles; pictures lose panel lines and logos, not shape). Links do not collide with each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mujoco
import numpy as np

from robolearn.kinematics.robots import PANDA

JOINTS = tuple(f"joint{i}" for i in range(1, 8))
FINGERS = ("finger_joint1", "finger_joint2")
TCP_SITE = "tcp"
WRIST_CAMERA = "wrist"
# Elbow up, hand pointing straight down at about (0.48, 0, 0.30) m.
HOME_RAD = np.array([0.0, 0.02, 0.0, -2.22, 0.0, 2.24, 0.785])
MAX_OPENING_M = 0.08
# Bits of MuJoCo's contype/conaffinity: robot parts touch the world and objects, never each other.
ROBOT_BIT, WORLD_BIT = 1, 2

_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # N m / rad
_DAMPING = (450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 200.0)  # N m s / rad
_TORQUE_LIMIT = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # N m, Franka data sheet
_FINGER_STIFFNESS, _FINGER_DAMPING, _FINGER_FORCE = 600.0, 20.0, 40.0  # N/m, N s/m, N
# MuJoCo 4 says so, though the scene is saved and read again as it was
_NO_PREFIX = "Attaching a spec with an empty prefix"
warnings.filterwarnings("ignore", message=_NO_PREFIX)
_WHITE, _GREY = (0.93, 0.94, 0.95, 1.0), (0.25, 0.26, 0.28, 1.0)


def add_panda(scene: mujoco.MjSpec) -> None:
    """Attach the arm with its hand to `scene`, base at the world origin, so that world and base frames agree."""
    files = PANDA.folder()
    arm = _arm_spec(files / "robots" / "panda")
    hand = _hand_spec(files / "grippers")
    mount = arm.body("right_hand").add_frame()
    with _no_prefix():
        mount.attach_body(hand.body("right_gripper"), "", "")
        scene.worldbody.add_frame().attach_body(arm.body("base"), "", "")
    for name, stiffness, damping, limit in zip(JOINTS, _STIFFNESS, _DAMPING, _TORQUE_LIMIT, strict=True):
        _add_servo(scene, name, stiffness, damping, limit)
    for name in FINGERS:
        _add_servo(scene, name, _FINGER_STIFFNESS, _FINGER_DAMPING, _FINGER_FORCE)


@contextmanager
def _no_prefix() -> Iterator[None]:
    """Keeps `_NO_PREFIX` off the terminal and out of MUJOCO_LOG.TXT, which MuJoCo would write where one stands."""

    def tell(text: str) -> None:
        if _NO_PREFIX not in text:
            warnings.warn(text, stacklevel=2)

    told = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(tell)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(told)


def _add_servo(scene: mujoco.MjSpec, joint: str, stiffness: float, damping: float, force: float) -> None:
    servo = scene.add_actuator(name=f"servo_{joint}", target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    servo.set_to_position(kp=stiffness, kv=damping)
    servo.forcelimited, servo.forcerange = True, [-force, force]


def _arm_spec(files: Path) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(str(files / "robot.xml"))
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for camera in list(spec.cameras):
        spec.delete(camera)
    _keep_collision_geoms(spec)
    # robosuite names both the arm's and the hand's files "meshes/..."; make paths absolute before merging
    for mesh in spec.meshes:
        mesh.file = str(files / mesh.file)
    for index, geom in enumerate(spec.geoms):
        geom.rgba = _GREY if index == len(spec.geoms) - 1 else _WHITE
        geom.contype, geom.conaffinity = ROBOT_BIT, WORLD_BIT
    for joint in spec.joints:
        _set_passive(joint, damping=1.0, armature=0.1)
    for body in spec.bodies:
        body.gravcomp = 1.0
    return spec


def _hand_spec(files: Path) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(str(files / "panda_gripper.xml"))
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    _keep_collision_geoms(spec)
    for mesh in spec.meshes:
        mesh.file = str(files / mesh.file)
    for site in list(spec.sites):
        spec.delete(site)
    for geom in spec.geoms:
        is_pad = geom.name.endswith("pad_collision")
        geom.rgba = _GREY if is_pad else _WHITE
        geom.contype, geom.conaffinity = ROBOT_BIT, WORLD_BIT
        if is_pad:
            geom.friction, geom.condim = (2.0, 0.05, 0.0001), 4
            geom.solref, geom.priority = (0.01, 1.0), 1
    for joint in spec.joints:
        _set_passive(joint, damping=5.0, armature=0.2)
    for body in spec.bodies:
        body.gravcomp = 1.0
    tcp = spec.body("eef")
    tcp.add_site(name=TCP_SITE, group=4)
    # In front of the hand, looking down along the fingers and tilted back towards them by 20 degrees.
    spec.body("right_gripper").add_camera(
        name=WRIST_CAMERA, pos=[0.0, 0.075, 0.01], xyaxes=[-1, 0, 0, 0, 0.940, 0.342], fovy=75
    )
    return spec


def _set_passive(joint: mujoco.MjsJoint, damping: float, armature: float) -> None:
    """Viscous damping without dry friction. Newer MuJoCo has polynomial damping: coefficients instead of a number."""
    joint.damping = np.array([damping, 0.0, 0.0]) if np.ndim(joint.damping) else damping
    joint.frictionloss, joint.armature = 0.0, armature


def _keep_collision_geoms(spec: mujoco.MjSpec) -> None:
    """Delete geoms that never collide (the visual ones), then the meshes and materials nobody uses."""
    for geom in list(spec.geoms):
        if geom.contype == 0 and geom.conaffinity == 0:
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)
    for material in list(spec.materials):
        spec.delete(material)
