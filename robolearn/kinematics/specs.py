"""Cleans MJCF files of arms and grippers into the specs that `Robot.spec` gives."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import mujoco
import numpy as np

from robolearn.kinematics.robot import TCP_SITE, WRIST_CAMERA

# Bits of MuJoCo's contype/conaffinity: robot parts touch the world and objects, never each other.
ROBOT_BIT, WORLD_BIT = 1, 2
WHITE, GREY, BLACK = (0.93, 0.94, 0.95, 1.0), (0.25, 0.26, 0.28, 1.0), (0.12, 0.12, 0.13, 1.0)
# MuJoCo 4 says so, though what was attached is saved and read again as it was
NO_PREFIX = "Attaching a spec with an empty prefix"
warnings.filterwarnings("ignore", message=NO_PREFIX)


def read(file: Path) -> mujoco.MjSpec:
    """An MJCF file without actuators, sensors, cameras, lights and key frames, its meshes at absolute paths.

    Two files may name their meshes alike, so paths are made absolute before they are merged.
    """
    spec = mujoco.MjSpec.from_file(str(file))
    for unwanted in (spec.actuators, spec.sensors, spec.cameras, spec.lights, spec.keys):
        for element in list(unwanted):
            spec.delete(element)
    folder = file.parent / spec.meshdir
    for mesh in spec.meshes:
        mesh.file = str(folder / mesh.file)
    spec.meshdir = spec.texturedir = ""
    return spec


def keep_collision_geoms(spec: mujoco.MjSpec, but: Collection[str] = ()) -> None:
    """Delete geoms that never collide (the visual ones), then the meshes, materials and textures nobody uses.

    Args:
        but: meshes of visual geoms that are drawn all the same, because nothing that collides has their shape.
    """
    for geom in list(spec.geoms):
        if geom.contype == 0 and geom.conaffinity == 0 and geom.meshname not in but:
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)
    for geom in spec.geoms:
        geom.material = ""
    for unused in (spec.materials, spec.textures):
        for element in list(unused):
            spec.delete(element)


def dress(spec: mujoco.MjSpec, rgba: tuple[float, ...], pads: Collection[str] = ()) -> None:
    """Colours, contact bits and gravity compensation of a robot; `pads` name the geoms that grip."""
    for geom in spec.geoms:
        geom.rgba = rgba
        if geom.contype or geom.conaffinity:
            geom.contype, geom.conaffinity = ROBOT_BIT, WORLD_BIT
            geom.group = 0  # many files keep what collides in a group that is not drawn
        if geom.name in pads:
            geom.rgba = GREY
            geom.friction, geom.condim = (2.0, 0.05, 0.0001), 4
            geom.solref, geom.priority = (0.01, 1.0), 1
    for body in spec.bodies:
        body.gravcomp = 1.0


def set_passive(joint: mujoco.MjsJoint, damping: float, armature: float) -> None:
    """Viscous damping without dry friction. Newer MuJoCo has polynomial damping: coefficients instead of a number."""
    joint.damping = np.array([damping, 0.0, 0.0]) if np.ndim(joint.damping) else damping
    joint.frictionloss, joint.armature = 0.0, armature


def add_tcp(body: mujoco.MjsBody, position_m: tuple[float, ...], quaternion: tuple[float, ...] = (1, 0, 0, 0)) -> None:
    body.add_site(name=TCP_SITE, pos=position_m, quat=quaternion, group=4)


@contextmanager
def no_prefix() -> Iterator[None]:
    """Keeps `NO_PREFIX` off the terminal and out of MUJOCO_LOG.TXT, which MuJoCo would write where one stands."""

    def tell(text: str) -> None:
        if NO_PREFIX not in text:
            warnings.warn(text, stacklevel=2)

    told = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(tell)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(told)


def couple(spec: mujoco.MjSpec, joint: str, driver: str, ratio: float) -> None:
    """A joint follows another one: position = ratio * position of `driver`."""
    equality = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1=joint, name2=driver)
    equality.objtype = mujoco.mjtObj.mjOBJ_JOINT
    equality.data[:5] = [0.0, ratio, 0.0, 0.0, 0.0]
    equality.solref[:2] = [0.005, 1.0]


def drop_linkage(spec: mujoco.MjSpec) -> None:
    """Delete tendons and all constraints between fingers: `couple` says the same with fewer of them."""
    for unwanted in (spec.equalities, spec.tendons):
        for element in list(unwanted):
            spec.delete(element)


def add_wrist_camera(body: mujoco.MjsBody, position_m: tuple[float, ...], xyaxes: tuple[float, ...]) -> None:
    """A camera beside the fingers; `xyaxes` are the right and the up of its picture."""
    body.add_camera(name=WRIST_CAMERA, pos=position_m, xyaxes=xyaxes, fovy=75)
