"""Policies of one layout in environments of another: what is told to the arm is what was meant, or it is refused."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature, features
from robolearn.evaluation.run.environment import open_world
from robolearn.evaluation.run.rollout import RolloutConfig, run_episode
from robolearn.execution.policy_spec import PolicySpec
from robolearn.kinematics.state import ArmState

sys.path.append(str(Path(__file__).parents[1]))
from posed_world import POSES, RATE_HZ, STATE, TURNS, Led, PosedArm, way

MOVES = ActionLayout((TURNS, Part("gripper")))


@pytest.mark.parametrize("taken", [POSES, MOVES], ids=["taking poses", "taking moves from where it is"])
@pytest.mark.parametrize("execute", [1, 3, 4])
@pytest.mark.parametrize("reference", Led.PARTS)
def test_an_arm_is_told_what_the_policy_meant_whichever_layout_each_of_them_speaks(reference, execute, taken):
    env = PosedArm(taken)
    result = run_episode(Led(reference, execute), env, 0, RolloutConfig(execute))
    np.testing.assert_allclose(env.told, [way(step) for step in range(6)], atol=1e-5)
    assert env.opening == 0.25
    assert result.steps == 6 and result.inexact is None and result.fault is None


def test_moves_start_from_what_the_arm_was_told_where_the_environment_holds_it_short():
    class Held(PosedArm):
        """Is not moved beyond 3 cm along x, and tells so."""

        def step(self, action):
            return super().step(np.concatenate([[min(action[0], 0.03)], action[1:]]).astype(np.float32))

        def arm_state(self):
            return {"": ArmState(position_m=self.pose[:3, 3], rotation=self.pose[:3, :3], opening=self.opening)}

        arm_targets = arm_state

    class Along(Led):
        def _numbers(self, newest, step):
            return np.array([0.02 if step < 4 else -0.02, 0, 0, 0, 0, 0, 0.25])

    env = Held()
    run_episode(Along("target", 1), env, 0, RolloutConfig(1))
    np.testing.assert_allclose([told[0, 3] for told in env.told], [0.02, 0.03, 0.03, 0.03, 0.01, -0.01], atol=1e-6)


def test_jumps_of_actions_that_are_taken_as_they_are_are_told_with_the_episode():
    class Jumping(Led):
        def _numbers(self, newest, step):
            return np.array([0.4 * (step == 2), 0, 0, 1, 0, 0, 0, 1, 0, 0.25])

    result = run_episode(Jumping("absolute", 1), PosedArm(), 0, RolloutConfig(1))
    assert result.inexact == "Of 6 actions 2 that jump."  # there and back


def refusal(layout: ActionLayout) -> str:
    policy = Led("absolute", 1)
    policy.spec = replace(policy.spec, action_feature=Feature("action", (layout.size,), kind="action", layout=layout))
    with pytest.raises(LayoutError) as caught:
        run_episode(policy, PosedArm(), 0, policy_name="policy 'mine'")
    assert str(caught.value).startswith("policy 'mine' cannot act in environment 'posed_arm'. ")
    return str(caught.value)


def test_a_layout_that_does_not_fit_names_the_part_and_what_would_do():
    joints = ActionLayout((Part("joints", ("a", "b")), Part("gripper")))
    assert "joints cannot be converted to pose (rot6d)" in refusal(joints) and "which robot" in refusal(joints)
    sides = [(Part("pose", arm=arm), Part("gripper", arm=arm)) for arm in ("left", "right")]
    assert "['left', 'right']" in refusal(ActionLayout(sides[0] + sides[1]))
    assert "how far its gripper opens" in refusal(ActionLayout((Part("pose"),)))
    flat = ActionLayout((Part("pose", coordinates="xy", rotation="none"), Part("gripper")))
    assert "positions are 'xy' of the one, 'xyz' of the other" in refusal(flat)


@pytest.fixture
def choosy(monkeypatch):
    """An environment that can be made for poses and for moves."""

    class Choosy(PosedArm):
        def __init__(self, action=None):
            super().__init__(action or POSES)

        def takes(self, layout):
            return layout in (POSES, MOVES)

    monkeypatch.setattr("robolearn.evaluation.run.environment.make_env", lambda name, action=None: Choosy(action))
    return "choosy"


@pytest.mark.parametrize(
    ("reference", "taken", "plain", "said"),
    [
        ("absolute", POSES, True, "actions are taken as they are: pose (rot6d), gripper"),
        ("current", MOVES, True, "actions are taken as they are: pose relative to the current one (base axes, axis_"),
        ("target", POSES, False, "actions are converted: pose relative to the last target (tool axes, axis_angle), "),
        ("observation", POSES, False, "actions are made absolute with the observation of their chunk: pose relative "),
    ],
)
def test_an_environment_takes_the_policys_own_layout_where_it_can(choosy, reference, taken, plain, said):
    env, _, actions = open_world(Led(reference, 1).spec, choosy, {}, None)
    assert env.action_feature.layout == taken
    assert actions.description.startswith(said) and actions.plain == plain
    assert actions.taken == taken.to_dict()


def test_poses_that_are_meant_for_another_robot_are_taken_and_said(choosy):
    given, taken = (replace(POSES, robots=(("", robot),)) for robot in ("panda", "ur5e"))
    spec = Led("absolute", 1).spec
    spec = replace(spec, action_feature=replace(spec.action_feature, layout=given))
    _, _, actions = open_world(spec, choosy, {"action": taken}, None)
    assert actions.description.endswith("; poses that are meant for the robot panda are those of ur5e")
    assert not actions.plain


def test_a_layout_that_is_asked_for_is_kept(choosy):
    env, _, actions = open_world(Led("current", 1).spec, choosy, {"action": POSES}, None)
    assert env.action_feature.layout == POSES and not actions.plain


def test_targets_that_an_arm_could_not_reach_are_told_with_the_episode():
    class Short(PosedArm):
        out_of_reach = 4

    told = run_episode(Led("absolute", 1), Short(), 0, RolloutConfig(1)).inexact
    assert told == "In 6 steps 4 targets were out of an arm's reach: it went as near as it could."


SIDES = ActionLayout(tuple(Part(kind, arm=arm) for arm in ("left", "right") for kind in ("pose", "gripper")))
TIME = Feature("observation.time", (1,))


class TwoArms(PosedArm):
    """Takes absolute poses of two arms, which are there at once. `told` is all that they were told."""

    def __init__(self):
        super().__init__(SIDES)
        self._declare(features([Feature(STATE, (20,), layout=SIDES), TIME]), self.action_feature)

    def reset(self, *, seed=None, options=None):
        rest = np.array([0, 0, 0.5, 1, 0, 0, 0, 1, 0, 1.0])
        self.state, self.told = np.concatenate([rest, rest]).astype(np.float32), []
        return self._observation(), self.task_info()

    def step(self, action):
        self.state = self.check_action(action)
        self.told.append(self.state)
        return self._observation(), 0.0, False, len(self.told) >= 3, self.task_info()

    def _observation(self):
        return {STATE: self.state, TIME.name: np.array([len(self.told)], np.float32)}


class OneArm:
    """Tells one arm, which may have a prefix, to go on along x."""

    def __init__(self, arm=""):
        layout = ActionLayout((Part("pose", arm=arm), Part("gripper", arm=arm)))
        action = Feature("action", (layout.size,), kind="action", layout=layout)
        self.spec = PolicySpec(features([TIME]), action, 1, 1, RATE_HZ)

    def predict_chunk(self, observations, goal=None, executed=None, generator=None):
        step = float(observations[TIME.name][-1, 0])
        return np.array([[0.1 * step, 0, 0.2, 1, 0, 0, 0, 1, 0, 0.25]], np.float32)


@pytest.mark.parametrize(("prefix", "said"), [("", "right"), ("right", None)], ids=["said", "by its prefix"])
def test_a_policy_of_one_arm_moves_one_of_two_and_the_other_holds_still(prefix, said):
    env = TwoArms()
    run_episode(OneArm(prefix), env, 0, RolloutConfig(1, arm=said))
    left, right = np.split(np.array(env.told), 2, axis=1)
    np.testing.assert_allclose(left, np.tile([0, 0, 0.5, 1, 0, 0, 0, 1, 0, 1], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(right[:, [0, 2, 9]], [[0.0, 0.2, 0.25], [0.1, 0.2, 0.25], [0.2, 0.2, 0.25]], atol=1e-6)


def test_which_of_two_arms_it_is_has_to_be_said():
    with pytest.raises(LayoutError, match=r"Say with --arm which one of the arms \['left', 'right'\] it is"):
        run_episode(OneArm(), TwoArms(), 0, RolloutConfig(1))
