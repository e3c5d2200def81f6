"""The layout "robosuite" means what robosuite's own controller does with the same numbers."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

if importlib.util.find_spec("robosuite") is None:
    pytest.skip("robosuite is not installed", allow_module_level=True)

from robolearn.core.action_dialect import DIALECTS, Dialect
from robolearn.core.rotation import angle_between, rot6d_to_matrix
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.pose import Pose
from robolearn.kinematics.state import ArmState

ARM = SimpleNamespace(prefix="", robot_name="panda", joint_names=(), has_gripper=True, free="")


@pytest.fixture(scope="module")
def lift():
    import robosuite

    env = robosuite.make(
        "Lift", robots="Panda", has_renderer=False, has_offscreen_renderer=False, use_camera_obs=False, seed=0,
        controller_configs=robosuite.load_composite_controller_config(controller="BASIC", robot="Panda"),
    )  # fmt: skip
    env.reset()
    yield env
    env.close()


def measured(env) -> ArmState:
    """Of the tool in the frame of the arm's base, from MuJoCo's own numbers."""
    sim, arm = env.sim, env.robots[0]
    site = sim.model.site_name2id(arm.part_controllers["right"].ref_name)
    base = sim.model.body_name2id(arm.robot_model.root_body)
    tool, stand = (
        Pose(sim.data.site_xpos[site].copy(), sim.data.site_xmat[site].reshape(3, 3).copy()),
        Pose(sim.data.body_xpos[base].copy(), sim.data.body_xmat[base].reshape(3, 3).copy()),
    )
    return ArmState().at(tool.seen_from(stand))


@pytest.mark.slow
def test_the_goal_of_osc_pose_is_where_the_converted_action_leads(lift):
    controller = lift.robots[0].part_controllers["right"]
    assert (controller.input_type, controller.input_ref_frame) == ("delta", "base")
    pose_part = DIALECTS["robosuite"].layout([ARM]).parts[0]
    np.testing.assert_allclose(pose_part.scale, controller.output_max)
    plan = conversion(*(Dialect.parse(text).layout([ARM]) for text in ("robosuite", "pose")))
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-1.3, 1.3, 7)  # some of it is beyond the limits
        lift.step(action)
        now = measured(lift)
        controller.set_goal(action[:6])
        told, _ = plan.convert(action, {"": now}, {"": now})
        np.testing.assert_allclose(told[:3], controller.goal_pos, atol=1e-9)
        assert angle_between(rot6d_to_matrix(told[3:9]), controller.goal_ori) < 1e-6


@pytest.mark.slow
def test_its_gripper_closes_at_one(lift):
    """-1 opens: the fingers of the Panda are then farther apart."""
    widths = {}
    for number in (-1.0, 1.0):
        for _ in range(10):
            observation, *_ = lift.step(np.array([0, 0, 0, 0, 0, 0, number]))
        widths[number] = np.abs(observation["robot0_gripper_qpos"]).sum()
    plan = conversion(*(Dialect.parse(text).layout([ARM]) for text in ("robosuite", "pose.current")))
    somewhere = {"": ArmState().at(Pose(np.zeros(3), np.eye(3)))}
    opening = {n: plan.convert(np.array([0, 0, 0, 0, 0, 0, n]), somewhere, somewhere)[0][-1] for n in widths}
    assert widths[-1.0] > widths[1.0] + 0.02 and opening == {-1.0: 1.0, 1.0: 0.0}
