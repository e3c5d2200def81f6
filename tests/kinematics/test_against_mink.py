"""Our solver beside mink's, on the same model: Kevin Zakka's package of inverse kinematics by quadratic programs.

The version that robosuite brings along has another interface, and the newest needs a MuJoCo that robosuite cannot work
with: this runs in the environment of the newest versions.
"""

from importlib import metadata

import numpy as np
import pytest

from robolearn.kinematics.arm import ArmKinematics, arm_only
from robolearn.kinematics.ik import CONVERSION
from robolearn.kinematics.robot import TCP_SITE

mink = pytest.importorskip("mink", reason="mink is not installed")
if int(metadata.version("mink").partition(".")[0]) < 1:
    pytest.skip("mink is older than 1.0", allow_module_level=True)

ROBOTS = ("panda", "ur5e", "xarm7", "vx300s", "wx250s")


def solved_by_mink(kinematics: ArmKinematics, start: np.ndarray, position, rotation) -> np.ndarray:
    """(J,) after as many small programs as it takes to settle, within the same limits of the joints."""
    configuration = mink.Configuration(arm_only(kinematics.robot))
    configuration.update(start)
    task = mink.FrameTask(TCP_SITE, "site", position_cost=1.0, orientation_cost=1.0, lm_damping=1e-3)
    task.set_target(mink.SE3.from_rotation_and_translation(mink.SO3.from_matrix(rotation), position))
    limits = [mink.ConfigurationLimit(configuration.model)]
    for _ in range(300):
        velocity = mink.solve_ik(configuration, [task], 1.0, solver="daqp", damping=1e-9, limits=limits)
        configuration.integrate_inplace(velocity, 1.0)
        if np.abs(velocity).max() < 1e-10:
            break
    return configuration.q.copy()


def errors(kinematics: ArmKinematics, joints: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Of position [m] and rotation [rad], (2,)."""
    found, turned = kinematics.forward(joints)
    angle = mink.SO3.from_matrix(rotation @ turned.T).log()
    return np.array([np.linalg.norm(found - position), np.linalg.norm(angle)])


@pytest.mark.parametrize("name", ROBOTS)
def test_where_mink_finds_a_pose_so_do_we_and_arms_of_six_joints_with_the_same_joints(present, name):
    kinematics = ArmKinematics(present(name), CONVERSION)
    low, high = kinematics.limits_rad.T
    rng = np.random.default_rng(0)
    both = 0
    for _ in range(20):
        q = np.clip(kinematics.home_rad + rng.uniform(-0.6, 0.6, len(low)), low + 0.05, high - 0.05)
        start = np.clip(q + rng.uniform(-0.15, 0.15, len(low)), low, high)
        pose = kinematics.forward(q)
        theirs = solved_by_mink(kinematics, start, *pose)
        if errors(kinematics, theirs, *pose).max() > 1e-6:
            continue
        ours = kinematics.solve(start, *pose)
        assert ours.reached
        both += 1
        if len(low) == 6:
            np.testing.assert_allclose(ours.joints, theirs, atol=1e-4)
    assert both >= 18


@pytest.mark.parametrize("name", ["ur5e", "vx300s", "xarm7"])
def test_out_of_reach_we_come_as_near_as_mink(present, name):
    """Targets 10 to 40 cm beyond what the arm reaches, straight out from its shoulder."""
    kinematics = ArmKinematics(present(name), CONVERSION)
    low, high = kinematics.limits_rad.T
    rng = np.random.default_rng(1)
    for _ in range(8):
        q = np.clip(kinematics.home_rad + rng.uniform(-0.3, 0.3, len(low)), low, high)
        position, rotation = kinematics.forward(q)
        beyond = position * (1.2 + rng.uniform(0.1, 0.4)) / np.linalg.norm(position)
        ours = kinematics.solve(q, beyond, rotation)
        theirs = errors(kinematics, solved_by_mink(kinematics, q, beyond, rotation), beyond, rotation)
        assert not ours.reached
        assert np.hypot(ours.position_error_m, ours.rotation_error_rad) <= np.hypot(*theirs) * 1.001
