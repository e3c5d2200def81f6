"""Cleans MJCF files of arms and grippers into the specs that `Robot.spec` gives."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np

from robolearn.core.errors import MissingDependencyError, one_line
from robolearn.kinematics.robot import TCP_SITE, WRIST_CAMERA, GripperModel

# Bits of MuJoCo's contype/conaffinity: robot parts touch the world and objects, never each other.
ROBOT_BIT, WORLD_BIT = 1, 2
WHITE, GREY, BLACK = (0.93, 0.94, 0.95, 1.0), (0.25, 0.26, 0.28, 1.0), (0.18, 0.18, 0.19, 1.0)
# MuJoCo 4 says so, though what was attached is saved and read again as it was
NO_PREFIX = "Attaching a spec with an empty prefix"
warnings.filterwarnings("ignore", message=NO_PREFIX)


def compiled(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """The model of a specification. Raises MissingDependencyError where a file that it names is damaged."""
    try:
        return spec.compile()
    except ValueError as error:
        raise MissingDependencyError(
            f"The model {spec.modelname!r} cannot be built ({one_line(error, 160)}); where it names a file of a "
            "robot's model, take the model's files anew."
        ) from error


def read(file: Path) -> mujoco.MjSpec:
    """An MJCF file without actuators, sensors, tendons, cameras, lights and key frames, and with the solver's default
    options: those are the scene's.

    Two files may name their meshes and default classes alike, so that paths are made absolute and classes dissolved
    before they are merged: every element has its values itself already.

    Raises MissingDependencyError for a file that is none.
    """
    try:
        spec = mujoco.MjSpec.from_file(str(file))
    except ValueError as error:
        raise MissingDependencyError(
            f"{file} is no robot model that MuJoCo reads ({one_line(error, 120)}); take the model's files anew."
        ) from error
    _reset(spec.option)
    for unwanted in (spec.actuators, spec.sensors, spec.tendons, spec.cameras, spec.lights, spec.keys):
        for element in list(unwanted):
            spec.delete(element)
    folder = file.parent / spec.meshdir
    for mesh in spec.meshes:
        mesh.name = mesh.name or Path(mesh.file).stem
        mesh.file = str(folder / mesh.file)
    spec.meshdir = spec.texturedir = ""
    elements = (
        spec.bodies,
        spec.geoms,
        spec.joints,
        spec.sites,
        spec.meshes,
        spec.materials,
        spec.equalities,
        spec.pairs,
    )
    for element in (element for kind in elements for element in kind):
        element.classname = spec.default
    for name in _classes(file):
        if (unused := spec.find_default(name)) is not None and name != spec.default.name:
            spec.delete(unused)
    spec.default.name = file.stem
    return spec


def _reset(options: mujoco.MjOption) -> None:
    for name, default in ((n, getattr(mujoco.MjOption(), n)) for n in dir(options) if not n.startswith("_")):
        if isinstance(default, int | float | np.ndarray):
            setattr(options, name, default)


def _classes(file: Path) -> list[str]:
    """Names of the outermost default classes of a file."""
    found = [inner for outer in ElementTree.parse(file).getroot().findall("default") for inner in outer]
    return [inner.attrib["class"] for inner in found if inner.tag == "default"]


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


def dress(spec: mujoco.MjSpec, rgba: tuple[float, ...], gripper: GripperModel | None = None) -> None:
    """Colours, contact bits and gravity compensation of a robot, and friction of its gripper's pads."""
    pads = gripper.pads[0] + gripper.pads[1] if gripper is not None else ()
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
    """Viscous damping, no dry friction and no spring. Newer MuJoCo has polynomials in place of numbers."""
    joint.damping = np.array([damping, 0.0, 0.0]) if np.ndim(joint.damping) else damping
    joint.stiffness = np.zeros(3) if np.ndim(joint.stiffness) else 0.0
    joint.frictionloss, joint.armature = 0.0, armature


def add_tcp(body: mujoco.MjsBody, position_m: tuple[float, ...], quaternion: tuple[float, ...] = (1, 0, 0, 0)) -> None:
    body.add_site(name=TCP_SITE, pos=position_m, quat=quaternion, group=4)


def adopt_options(spec: mujoco.MjSpec, scene: mujoco.MjSpec) -> None:
    """Give `spec` the solver's options of the scene that it is attached to: where they differ, MuJoCo 4 warns."""
    for name in dir(scene.option):
        if isinstance(value := getattr(scene.option, name), int | float):
            setattr(spec.option, name, value)


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
    """Delete all constraints between fingers: `couple` says the same with fewer of them."""
    for constraint in list(spec.equalities):
        spec.delete(constraint)


def add_wrist_camera(body: mujoco.MjsBody, position_m: tuple[float, ...], xyaxes: tuple[float, ...]) -> None:
    """A camera beside the fingers; `xyaxes` are the right and the up of its picture."""
    body.add_camera(name=WRIST_CAMERA, pos=position_m, xyaxes=xyaxes, fovy=75)
