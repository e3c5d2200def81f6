"""A hand's poses, and an expert's actions, in whichever layout an environment takes: the arm goes to the same place."""

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="drives simulated arms")

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import angle_between, axis_angle_to_matrix
from robolearn.execution.command import COMMAND_LAYOUT, Command
from robolearn.kinematics.robots import robot
from robolearn.sim import make_env
from robolearn.teleop.env_actions import env_converter
from robolearn.teleop.target import SimTarget

LAYOUTS = ["pose", "joints", "velocity", "pose.current", "pose.target.tool.axis_angle", "joints.target", "calvin"]


def way(start: Command, steps: int) -> list[Command]:
    """A slow turn of the hand along an arc, its fingers closing."""
    found = []
    for share in np.linspace(0.0, 1.0, steps):
        position = start.position_m + [0.06 * np.sin(1.5 * share), 0.08 * share, -0.1 * share]
        turn = axis_angle_to_matrix(share * np.array([0.1, -0.15, 0.4]))
        found.append(Command(position, turn @ start.rotation, 1.0 - share))
    return found


@pytest.mark.parametrize("action", LAYOUTS)
def test_the_arm_is_told_what_the_hand_commands_in_every_layout(action):
    env = make_env("put_on_plate", action)
    target = SimTarget(env)
    target.start_episode(3)
    for command in way(Command.from_action(target.observe()["observation.state"]), 30):
        given = target.action(command)
        assert given.dtype == np.float32 and given.shape == target.action_feature.shape
        target.apply(given)
        told = env.arm_targets()[""]
        assert np.linalg.norm(told.position_m - command.position_m) < 3e-4
        assert angle_between(told.rotation, command.rotation) < 3e-3
        assert told.opening == pytest.approx(command.gripper, abs=1e-6)
    assert target.inexact() == ""
    env.close()


@pytest.mark.parametrize("name", ["ur5e", "xarm7", "vx300s", "so100"])
@pytest.mark.parametrize("action", ["pose", "joints", "pose.target.tool.axis_angle"])
def test_the_hand_moves_every_robot_of_the_scene(name, action):
    if not robot(name).is_present:
        pytest.skip(f"the files of {name} are not on this machine")
    env = make_env(f"put_on_plate/{name}", action)
    target = SimTarget(env)
    target.start_episode(3)
    start = Command.from_action(target.observe()["observation.state"])
    for share in np.linspace(0.0, 1.0, 10):  # down, opening and closing: every arm can do that
        target.apply(target.action(Command(start.position_m - [0.0, 0.0, 0.04 * share], start.rotation, 1.0 - share)))
        told = env.arm_targets()[""]
        assert np.linalg.norm(told.position_m - start.position_m + [0.0, 0.0, 0.04 * share]) < 5e-4
    for _ in range(15):
        observation = target.observe()
        target.apply(target.action(Command(start.position_m - [0.0, 0.0, 0.04], start.rotation, 0.0)))
    assert observation["observation.state"][2] == pytest.approx(start.position_m[2] - 0.04, abs=0.01)
    assert observation["observation.state"][9] < 0.2
    env.close()


def test_poses_of_the_environments_own_layout_stay_as_they_are_to_the_bit():
    env = make_env("put_on_plate")
    target = SimTarget(env)
    target.start_episode(0)
    (command,) = way(Command.from_action(target.observe()["observation.state"]), 1)
    assert np.array_equal(target.action(command), command.to_action().astype(np.float32))
    env.close()


def test_a_pose_out_of_reach_is_counted_and_told():
    env = make_env("put_on_plate", "joints")
    target = SimTarget(env)
    target.start_episode(0)
    start = Command.from_action(target.observe()["observation.state"])
    target.action(Command(start.position_m + [1.0, 0.0, 0.0], start.rotation, 1.0))
    assert target.inexact().startswith("Of 1 actions 1 out of reach, held at the nearest pose found (up to ")
    target.start_episode(1)
    assert target.inexact() == ""
    env.close()


def declared(env, action, state=None):
    """The environment with other features."""
    env.action_feature = action
    if state is not None:
        env.observation_features = features([state])
    return env


def test_several_arms_are_not_driven_by_one_hand(point_env):
    both = ActionLayout(tuple(Part(kind, arm=arm) for arm in ("left", "right") for kind in ("pose", "gripper")))
    action = Feature("action", (20,), kind="action", layout=both)
    state = Feature("observation.state", (20,), layout=both)
    with pytest.raises(LayoutError) as error:
        SimTarget(declared(point_env, action, state))
    assert str(error.value) == (
        "Environment 'point' has the arms 'left' and 'right', and an operator's hand moves one. An expert that gives "
        "the actions of all of them drives it, where there is one: robolearn record --env point --operator scripted."
    )


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (Feature("action", (10,), kind="action"), r"does not say what its actions, of shape \(10,\), mean.* a layout"),
        (
            Feature("action", (2,), kind="action", names=("x", "y"), unit="m", frame="world"),
            r"has no arm that a hand could drive: its actions are of shape \(2,\) \(pose relative to the last target",
        ),
    ],
    ids=["numbers that say nothing", "an effector in a plane"],
)
def test_what_a_hand_cannot_drive_is_refused(point_env, action, told):
    with pytest.raises(LayoutError, match=f"Environment 'point' {told}"):
        SimTarget(declared(point_env, action))


def test_actions_relative_to_the_newest_observation_are_no_environments(point_env):
    umi = ActionLayout((Part("pose", reference="observation", axes="tool"), Part("gripper")))
    with pytest.raises(LayoutError, match="Environment 'point': .*cannot be converted"):
        env_converter(declared(point_env, Feature("action", (10,), kind="action", layout=umi)), COMMAND_LAYOUT)
