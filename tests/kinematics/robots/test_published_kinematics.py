"""Forward kinematics against what the makers publish: Denavit-Hartenberg parameters, chained here by hand."""

import numpy as np
import pytest

from robolearn.core.rotation import axis_angle_to_matrix
from robolearn.kinematics.arm import ArmKinematics

HALF_PI = np.pi / 2


def turned(axis: int, angle: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = axis_angle_to_matrix(angle * np.eye(3)[axis])
    return pose


def moved(axis: int, distance: float) -> np.ndarray:
    pose = np.eye(4)
    pose[axis, 3] = distance
    return pose


def modified(rows: list[tuple[float, float, float]], q: np.ndarray) -> np.ndarray:
    """Craig's convention: a and alpha of the link before, d, then the joint."""
    pose = np.eye(4)
    for (a, d, alpha), angle in zip(rows, q, strict=True):
        pose = pose @ turned(0, alpha) @ moved(0, a) @ turned(2, angle) @ moved(2, d)
    return pose


def classic(rows: list[tuple[float, float, float]], q: np.ndarray) -> np.ndarray:
    """The joint and d, then a and alpha of its own link."""
    pose = np.eye(4)
    for (a, d, alpha), angle in zip(rows, q, strict=True):
        pose = pose @ turned(2, angle) @ moved(2, d) @ moved(0, a) @ turned(0, alpha)
    return pose


# a [m], d [m], alpha [rad]: Franka's FCI documentation, "Denavit-Hartenberg parameters"
FRANKA = [
    (0.0, 0.333, 0.0), (0.0, 0.0, -HALF_PI), (0.0, 0.316, HALF_PI), (0.0825, 0.0, HALF_PI), (-0.0825, 0.384, -HALF_PI),
    (0.0, 0.0, HALF_PI), (0.088, 0.0, HALF_PI),
]  # fmt: skip
# of Universal Robots' support pages, "DH parameters for calculations of kinematics and dynamics": UR5e
UR5E = [
    (0.0, 0.1625, HALF_PI), (-0.425, 0.0, 0.0), (-0.3922, 0.0, 0.0), (0.0, 0.1333, HALF_PI), (0.0, 0.0997, -HALF_PI),
    (0.0, 0.0996, 0.0),
]  # fmt: skip
# of UFACTORY's developer manual, "Kinematic and dynamic parameters of xArm7", modified parameters
XARM7 = [
    (0.0, 0.267, 0.0), (0.0, 0.0, -HALF_PI), (0.0, 0.293, HALF_PI), (0.0525, 0.0, HALF_PI), (0.0775, 0.3425, HALF_PI),
    (0.0, 0.0, HALF_PI), (0.076, 0.097, -HALF_PI),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "chain", "rows", "before", "tolerance_m"),
    [
        ("panda", modified, FRANKA, np.eye(4), 1e-6),
        ("fr3", modified, FRANKA, np.eye(4), 1e-6),
        ("ur5e", classic, UR5E, turned(2, np.pi), 1e-3),  # Menagerie rounds to mm; "base" is turned by half a turn
        ("xarm7", modified, XARM7, np.eye(4), 1e-6),
    ],
)
def test_the_tool_moves_as_the_makers_parameters_say(present, name, chain, rows, before, tolerance_m):
    """The tool is fixed to the last link: what is between them at one posture is between them at all."""
    kinematics = ArmKinematics(present(name))

    def ours(q: np.ndarray) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, 3], pose[:3, :3] = kinematics.forward(q)
        return pose

    home = kinematics.home_rad
    tool = np.linalg.inv(before @ chain(rows, home)) @ ours(home)
    low, high = np.clip(kinematics.limits_rad.T, -np.pi, np.pi)
    for q in np.random.default_rng(0).uniform(low, high, size=(50, len(home))):
        expected, found = before @ chain(rows, q) @ tool, ours(q)
        np.testing.assert_allclose(found[:3, 3], expected[:3, 3], atol=2 * tolerance_m)
        np.testing.assert_allclose(found[:3, :3], expected[:3, :3], atol=5e-3)
    # and it is mounted where such tools are: on the axis of the last link, to the front
    assert np.hypot(*tool[:2, 3]) < 1e-3 and 0.1 < tool[2, 3] < 0.3
