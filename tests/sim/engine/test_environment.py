"""What `MujocoEnv` says of itself, what it refuses, and where several arms stand."""

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import ConfigError, LayoutError
from robolearn.core.registry import SignatureError
from robolearn.core.rotation import angle_between, axis_angle_to_quaternion
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robots import robot
from robolearn.sim import make_env
from robolearn.sim.engine.environment import MujocoEnv
from robolearn.sim.engine.task import Task
from robolearn.sim.registry import ENVIRONMENTS
from robolearn.sim.tasks.lift import Lift
from robolearn.sim.worlds.tabletop import Tabletop

STATE, JOINTS = "observation.state", "observation.joint_position"


class BentWrist(Lift):
    """A start state that no Panda can be in."""

    def start(self, rng):
        super().start(rng)
        self.sim.arm.put(np.array([0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0]), 1.0)


class TwoPandas(Task):
    """Nothing to do, and two arms that stand turned to each other."""

    name, scene_version = "two_pandas", "two_pandas-1"

    def __init__(self, variant=""):
        super().__init__(variant)
        turned = tuple(axis_angle_to_quaternion(np.array([0.0, 0.0, np.pi / 2])))
        arms = [MountedRobot(robot("panda"), "left", (0.0, -0.5, 0.1), turned), MountedRobot(robot("panda"), "right")]
        self.world = Tabletop(self.name, arms, ())

    def start(self, rng):
        pass

    def info(self):
        return {"success": False, "mode": None, "score": 0.0}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for kind in (BentWrist, TwoPandas):
        monkeypatch.setitem(ENVIRONMENTS._entries, kind.__name__.lower(), f"{__name__}:{kind.__name__}")


def test_features_say_which_robot_they_are_of_and_what_their_numbers_mean():
    env = make_env("put_on_plate")
    pose = ActionLayout((Part("pose"), Part("gripper")), (("", "panda"),))
    assert env.action_feature.layout == env.observation_features[STATE].layout == pose
    joints = env.observation_features[JOINTS].layout
    assert joints == ActionLayout((Part("joints", tuple(f"joint{i}" for i in range(1, 8))),), (("", "panda"),))
    assert [arm.robot_name for arm in env.mounted] == ["panda"]


def test_it_takes_what_it_can_be_made_with_and_nothing_else():
    env = make_env("put_on_plate")
    for words in ("pose", "joints", "velocity", "pose.current.tool.axis_angle", "calvin", "robosuite"):
        layout = Dialect.parse(words).layout(env.mounted)
        assert env.takes(layout)
        assert make_env("put_on_plate", action=layout).action_feature.layout == layout
    for layout in (Dialect.parse("umi").layout(env.mounted), ActionLayout((Part("pose", arm="left"),))):
        assert not env.takes(layout)
        with pytest.raises(LayoutError, match="'put_on_plate' takes no actions"):
            make_env("put_on_plate", action=layout)
    with pytest.raises(LayoutError, match="Did you mean 'joints'"):
        make_env("put_on_plate", action="joint")


def test_poses_learned_on_another_robot_are_taken_as_those_of_this_one():
    """The tool's axes are the same for all robots; joints are not."""
    poses = ActionLayout((Part("pose"), Part("gripper")), (("", "ur5e"),))
    env = make_env("put_on_plate", action=poses)
    assert env.action_feature.layout == make_env("put_on_plate").action_feature.layout
    assert not env.takes(Dialect.parse("joints").layout([MountedRobot(robot("ur5e"))]))


def test_what_was_made_for_one_layout_is_taken_as_it_is():
    """An adapter has one layout: asking for it is no error, asking for another one is, and says which it has."""
    env = make_env("pusht", action=make_env("pusht").action_feature.layout)
    assert env.takes(env.action_feature.layout)
    with pytest.raises(
        LayoutError, match=r"'pusht' takes actions 'agent: pose \(xy, no rotation\)' only, found 'joints"
    ):
        make_env("pusht", action="joints")


def test_a_task_with_one_rate_says_so():
    with pytest.raises(SignatureError, match=r"'avoiding' runs at 28.57\d* Hz only, found 20"):
        make_env("avoiding", control_hz=20.0)
    with pytest.raises(
        SignatureError, match="'put_on_plate' .* cannot be made: .*unexpected keyword argument 'camera'"
    ):
        make_env("put_on_plate", camera=("front",))


def test_a_variant_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="Known: so100, ur5e, vx300s, xarm7. 'put_on_plate' alone is one, too."):
        make_env("put_on_plate/fr3")
    with pytest.raises(ConfigError, match="^'put_on_plate/panda' is the environment 'put_on_plate' itself; say that.$"):
        make_env("put_on_plate/panda")
    with pytest.raises(ConfigError, match="Environment 'avoiding' has no variants, found 'avoiding/ur5e'"):
        make_env("avoiding/ur5e")


def test_a_joint_outside_of_its_limits_at_a_start_state_is_named():
    with pytest.raises(
        ConfigError, match=r"Start state 2 of 'lift' has the joint 'joint4' of 'panda' at 1.000 rad, out"
    ):
        make_env("bentwrist").reset(options={"init_state": 2})


def test_a_target_out_of_reach_is_held_at_the_nearest_pose_and_counted():
    env = make_env("twopandas", action="pose.rpy")
    env.reset()
    there = [0.5, 0.0, 0.3, np.pi, 0.0, 0.0, 1.0]  # down, in front of the base
    env.step([*there, *there])
    assert env.out_of_reach == 0
    upwards = [0.7, 0.0, 0.02, 0.0, 0.0, 0.0, 1.0]  # the hand would be in the table
    for _ in range(10):
        env.step([*upwards, *there])
    assert env.out_of_reach == 10
    for arm in env.simulation.arms:
        assert ((arm.low_rad <= arm.targets_rad) & (arm.targets_rad <= arm.high_rad)).all()
    assert env.arm_state()["right"].position_m == pytest.approx(there[:3], abs=2e-3)
    env.reset()
    assert env.out_of_reach == 0


def test_a_target_outside_of_the_workspace_is_moved_into_it_and_counted():
    env = make_env("twopandas", action="pose.rpy")
    env.reset()
    low = env.task.world.workspace_low_m
    within = [0.5, 0.0, 0.3, np.pi, 0.0, 0.0, 1.0]
    border, below = [*within[:2], low[2], *within[3:]], [*within[:2], low[2] - 0.05, *within[3:]]
    env.step([*border, *within])
    assert env.outside_workspace == 0 and env.inexact() == ""
    for _ in range(3):
        env.step([*below, *within])
    assert (env.outside_workspace, env.out_of_reach) == (3, 0)
    assert env.inexact() == "3 targets were outside of the workspace: they were moved to its border."
    assert env.arm_targets()["left"].position_m == pytest.approx(border[:3], abs=2e-3)
    env.reset()
    assert env.outside_workspace == 0


def test_each_arm_is_told_and_measured_in_the_frame_of_its_own_base():
    env = make_env("twopandas")
    observation, _ = env.reset(options={"init_state": 1})
    assert env.action_feature.names[:3] == ("left_x", "left_y", "left_z") and env.action_feature.shape == (20,)
    assert env.observation_features[JOINTS].names[7] == "right_joint1"
    start = env.arm_state()
    for arm in start.values():
        assert arm.position_m == pytest.approx([0.48, 0.0, 0.3], abs=0.1)
    action = observation[STATE].copy()
    action[:3] += [0.05, 0.02, -0.05]  # the left one only
    for _ in range(40):
        env.step(action)
    end = env.arm_state()
    assert end["left"].position_m - start["left"].position_m == pytest.approx([0.05, 0.02, -0.05], abs=1e-3)
    assert angle_between(end["left"].rotation, start["left"].rotation) < 2e-3
    assert end["right"].position_m == pytest.approx(start["right"].position_m, abs=1e-3)
    # in the world the left base is at (0, -0.5, 0.1) and looks along y
    arm = env.simulation.by_prefix["left"]
    x, y, z = end["left"].position_m
    assert arm.tcp_position_in_world() == pytest.approx([-y, x - 0.5, z + 0.1], abs=1e-6)


def test_two_arms_with_one_prefix_are_refused():
    with pytest.raises(ConfigError, match="Two arms have the prefix ''"):
        Tabletop("t", [MountedRobot(robot("panda")), MountedRobot(robot("panda"))], ())


def test_the_exact_state_agrees_with_what_is_observed():
    env = make_env("put_on_plate")
    observation, _ = env.reset(options={"init_state": 5})
    exact, seen = env.arm_state()[""], observation[STATE]
    assert exact.position_m.dtype == np.float64 and exact.position_m == pytest.approx(seen[:3], abs=1e-6)
    assert exact.joints == pytest.approx(observation[JOINTS], abs=1e-6) and exact.opening == pytest.approx(seen[9])
    exact.joints[:] = 0  # a copy
    assert env.arm_state()[""].joints[3] < -1


def test_a_goal_is_refused_where_none_is_taken():
    with pytest.raises(ConfigError, match="'put_on_plate' takes no goals"):
        make_env("put_on_plate").reset(options={"goal": {STATE: np.zeros((1, 10))}})


def test_a_task_may_be_run_by_itself():
    assert MujocoEnv(Lift(), control_hz=50.0).control_hz == 50.0
