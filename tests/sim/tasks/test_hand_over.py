from contextlib import closing

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, LayoutError
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.sim import make_env
from robolearn.sim.experts import expert_class
from robolearn.sim.experts.hand_over import MEETING_HEIGHT_M
from robolearn.sim.tasks.hand_over import BAR_HALF_M, GRIP_M

PAIRS = ("panda", "vx300s")


@pytest.fixture(scope="module", params=PAIRS)
def env(request, require_robot):
    require_robot(request.param)
    with closing(make_env(f"hand_over/{request.param}")) as made:
        yield made


@pytest.fixture(scope="module")
def panda():
    with closing(make_env("hand_over/panda")) as made:
        yield made


def follow_expert(env, init_state, before_step=lambda step: None, convert=lambda action, observation: action):
    """The last info of an episode of the expert, all flags that were true in it, and its actions."""
    expert = expert_class(env.name)()
    observation, info = env.reset(options={"init_state": init_state})
    expert.start_episode(init_state)
    actions, passed, ended = [], set(), False
    while not ended and (action := expert.action(observation)) is not None:
        before_step(len(actions))
        actions.append(action)
        observation, _, terminated, truncated, info = env.step(convert(action, observation))
        passed |= {flag for flag in ("grasped", "lifted", "both_hold", "taken") if info[flag]}
        ended = terminated or truncated
    return info, passed, np.array(actions)


def test_the_expert_hands_the_bar_over_and_passes_every_partial_flag(env):
    targets = []

    def note(step):
        targets.append(np.concatenate([arm.targets_rad for arm in env.simulation.arms]))

    info, passed, _ = follow_expert(env, 7, note)
    assert info["success"] and info["score"] == 1.0
    assert passed == {"grasped", "lifted", "both_hold", "taken"}
    fastest = np.concatenate([arm.robot.velocity for arm in env.mounted])
    assert (np.abs(np.diff(targets, axis=0)) * env.control_hz < fastest).all()  # rad/s


def test_an_episode_is_the_same_again(panda):
    first = follow_expert(panda, 3)[2]
    state = panda.sim_state()
    assert np.array_equal(follow_expert(panda, 3)[2], first)
    assert np.array_equal(panda.sim_state(), state)
    assert not np.array_equal(follow_expert(panda, 4)[2][:20], first[:20])


def test_a_bar_that_is_knocked_out_of_the_hand_is_picked_up_again(panda):
    left, dropped = panda.mounted[0], []

    def knock(step):
        if panda.task_info()["lifted"] and not dropped:
            place, _ = left.to_world(np.array([0.40, 0.10, 0.03]), np.eye(3))
            panda.simulation.body("bar").place(place)
            dropped.append(step)

    info, _, actions = follow_expert(panda, 2, knock)
    assert dropped and info["success"] and len(actions) > dropped[0] + 60


def test_of_fifty_start_states_each_is_in_reach_of_the_left_arm_and_the_meeting_is_in_reach_of_both(env):
    solvers = [ArmKinematics(arm.robot) for arm in env.mounted]
    down = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    far = [np.linalg.norm(np.subtract(*(arm.position_m for arm in env.mounted))) / 2]
    for init_state in range(50):
        env.reset(options={"init_state": init_state})
        bar = env.simulation.body("bar")
        end = bar.position_m - GRIP_M * bar.rotation[:, 0]
        position, along = env.mounted[0].from_world(end, bar.rotation)
        turned = np.stack([np.cross(along[:, 0], down[:, 2]), along[:, 0], down[:, 2]], axis=1)
        assert solvers[0].solve(env.mounted[0].robot.home_rad, position, turned).reached, init_state
        assert bar.position_m[2] == pytest.approx(BAR_HALF_M[2])
        assert not env.task_info()["grasped"]
    for solver, arm in zip(solvers, env.mounted, strict=True):
        for height in (-0.02, 0.03):
            place = np.array([far[0] - GRIP_M, 0.0, MEETING_HEIGHT_M[env.task.variant] + height])
            assert solver.solve(arm.robot.home_rad, place, down).reached


def test_actions_and_states_say_of_which_arm_each_number_is(panda):
    layout = panda.action_feature.layout
    assert layout.arms == ("left", "right") and layout.size == 20
    assert layout.names[:3] == ("left_x", "left_y", "left_z") and layout.names[-1] == "right_gripper"
    assert [part.kind for part in layout.parts] == ["pose", "gripper", "pose", "gripper"]
    assert panda.observation_features["observation.state"].layout.parts == layout.parts
    joints = panda.observation_features["observation.joint_position"].layout
    assert joints.size == 14 and dict(joints.robots) == {"left": "panda", "right": "panda"}


def test_objects_are_seen_in_the_world_and_from_each_hand(panda):
    observation, _ = panda.reset(options={"init_state": 5})
    objects = observation["observation.environment_state"].astype(np.float64)
    bar, along = objects[:3], objects[[3, 6]]  # the x axis' first number of each row that is shown
    assert np.allclose(bar, panda.simulation.body("bar").position_m, atol=1e-6)
    states = panda.arm_state()
    for arm, sign, seen in zip(panda.mounted, (-1.0, 1.0), (objects[9:12], objects[12:15]), strict=True):
        state = states[arm.prefix]
        tcp, _ = arm.to_world(state.position_m, state.rotation)
        end = tcp + seen
        assert np.linalg.norm(end - bar) == pytest.approx(GRIP_M, abs=1e-5)
        assert np.allclose((end - bar)[:2], sign * GRIP_M * along, atol=1e-5)


@pytest.mark.parametrize("action", ["joints", "velocity", "pose.current.tool.axis_angle", "calvin"])
def test_the_same_task_is_done_in_other_dialects(panda, action):
    with closing(make_env("hand_over/panda", action=action)) as other:
        turned = conversion(
            panda.action_feature.layout, other.action_feature.layout, mounted=panda.mounted, dt_s=1 / panda.control_hz
        )
        converter = ActionConverter(turned, other.observation_features)
        observation, _ = other.reset(options={"init_state": 1})
        converter.start(observation)
        info, _, _ = follow_expert(other, 1, convert=converter.convert)
        assert info["success"], turned.description
        assert converter.counts.out_of_reach == converter.counts.jumps == 0


def test_the_arms_touch_each_other_and_not_themselves(panda):
    panda.reset(options={"init_state": 0})
    data, model = panda.data, panda.model
    assert not [pair for pair in data.contact.geom if 0 not in model.geom_bodyid[pair]]
    left, right = panda.simulation.arms
    stretched = np.array([0.0, 0.9, 0.0, -1.2, 0.0, 2.1, 0.785])
    left.put(stretched, 1.0)
    right.put(stretched, 1.0)
    panda.simulation.forward()
    names = [{model.body(model.geom_bodyid[geom]).name.split("_")[0] for geom in pair} for pair in data.contact.geom]
    assert {"left", "right"} in names
    assert {"left"} not in names and {"right"} not in names


def test_which_pair_of_arms_has_to_be_said():
    with pytest.raises(ConfigError, match="say which one: hand_over/panda, hand_over/vx300s"):
        make_env("hand_over")
    with pytest.raises(ConfigError, match="Did you mean 'panda'"):
        make_env("hand_over/pandas")


def test_one_arms_layout_is_refused_with_the_arm_that_it_lacks(panda):
    one = make_env("put_on_plate").action_feature.layout
    assert not panda.takes(one)
    with pytest.raises(LayoutError, match="left"):
        make_env("hand_over/panda", action=one)
