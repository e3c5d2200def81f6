"""Whether a policy fits a robot, and the loop's rate both. Another layout is refused before anything moves."""

from dataclasses import replace

import pytest
from scripted_world import CAPABILITIES, SPEC

from robolearn.control.loop import LoopOptions, check_robot, other_robot
from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import ConfigError, FeatureError, LayoutError
from robolearn.core.feature import Feature, features
from robolearn.execution.policy_spec import PolicySpec
from robolearn.hardware.robot import Robot

POSE = ("x", "y", "z", *(f"rot6d_{i}" for i in range(6)), "gripper")
STATE = Feature("observation.state", (10,), names=POSE)
PANDA = tuple(f"joint{k}" for k in range(1, 8))


def composed(state: Feature = STATE) -> Robot:
    class Arm:
        capabilities = CAPABILITIES
        observation_features = features([state])

    return Robot("test", Arm(), (), None)  # type: ignore[arg-type]


def spec(action: Feature, state: str = "observation.state") -> PolicySpec:
    return PolicySpec(features([Feature(state, (10,))]), action, 2, 8, 20.0)


def of(*parts: Part, robots: tuple[tuple[str, str], ...] = ()) -> PolicySpec:
    layout = ActionLayout(parts, robots)
    return spec(Feature("action", (layout.size,), kind="action", layout=layout))


NAMED = Feature("action", (10,), kind="action", names=POSE)
DELTA = Part("pose", reference="current", rotation="axis_angle", scale=(0.05,) * 3 + (0.5,) * 3, limit=(-1, 1))
TWO_ARMS = of(*(Part(kind, arm=arm) for arm in ("left", "right") for kind in ("pose", "gripper")))
OTHERWISE = (
    "train it on such actions with: robolearn train ... --action pose, or make a copy of its dataset that has them "
    "with: robolearn dataset relabel DATASET --action pose --output COPY."
)
TAKES = "robot 'test' takes an absolute TCP pose with gripper (x, y, z, rot6d, gripper) alone"


@pytest.mark.parametrize(
    "policy",
    [SPEC, spec(NAMED), of(Part("pose"), Part("gripper"), robots=(("", "ur5e"),))],
    ids=["with a layout", "with the elements of a pose", "of another robot"],
)
def test_a_policy_that_answers_poses_of_one_arm_fits(policy):
    check_robot(policy, composed(), LoopOptions())


def test_whose_poses_they_were_is_said_where_it_is_another_robot():
    def posed(robot: str) -> PolicySpec:
        return of(Part("pose"), Part("gripper"), robots=(("", robot),))

    panda = composed(replace(STATE, names=None, layout=posed("panda").action_feature.layout))
    assert other_robot(posed("ur5e"), panda) == "note: poses that are meant for the robot ur5e are those of panda"
    assert (
        other_robot(posed("panda"), panda) is other_robot(SPEC, panda) is other_robot(posed("ur5e"), composed()) is None
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            of(Part("joints", PANDA), Part("gripper"), robots=(("", "panda"),)),
            f"the policy answers joints (8 numbers), and {TAKES}; {OTHERWISE}",
        ),
        (
            of(DELTA, Part("gripper", scale=(-0.5,), offset=(0.5,), limit=(-1, 1))),
            "the policy answers pose relative to the current one (base axes, axis_angle, scaled, within -1 to 1) (7 "
            f"numbers), and {TAKES}; {OTHERWISE}",
        ),
        (
            of(Part("pose")),
            f"the policy answers pose (rot6d) (9 numbers), and {TAKES}; {OTHERWISE}",
        ),
        (
            TWO_ARMS,
            "the policy moves the arms 'left' and 'right' (20 numbers), and robot 'test' has one arm, which takes an "
            "absolute TCP pose with gripper (x, y, z, rot6d, gripper); it acts in simulation with: robolearn eval.",
        ),
        (
            spec(Feature("action", (10,), kind="action")),
            f"the policy does not say what the 10 numbers of its actions mean, and {TAKES}; say it in a copy of its "
            "dataset with: robolearn dataset features DATASET --layout action=LAYOUT --output COPY, and train on that.",
        ),
        (
            spec(Feature("action", (10,), kind="action", names=tuple(f"joint_{k}" for k in range(10)))),
            "the policy does not say what the 10 numbers of its actions mean",
        ),
    ],
    ids=["joints", "scaled steps", "no gripper", "two arms", "no names", "names that decide nothing"],
)
def test_actions_of_another_layout_are_refused(policy, message):
    with pytest.raises(LayoutError) as error:
        check_robot(policy, composed(), LoopOptions())
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("policy", "options", "error", "message"),
    [
        (spec(NAMED, "observation.stat"), LoopOptions(), FeatureError, "'observation.stat', which robot 'test' lacks"),
        (SPEC, LoopOptions(rate_hz=10), ConfigError, "10 Hz is below the policy's 20 Hz"),
        (SPEC, LoopOptions(rate_hz=1000), ConfigError, r"1000 Hz is above what robot 'test' accepts \(250 Hz\)"),
    ],
)
def test_a_policy_that_does_not_fit_the_robot_is_refused(policy, options, error, message):
    with pytest.raises(error, match=message):
        check_robot(policy, composed(), options)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (replace(STATE, shape=(7,), names=PANDA), "robot 'test' measures 7 numbers in 'observation.state'"),
        (
            replace(TWO_ARMS.action_feature, name="observation.state", kind="state"),
            "robot 'test' measures left and right: pose (rot6d), gripper in 'observation.state'",
        ),
    ],
)
def test_a_robot_that_measures_no_pose_of_one_arm_is_refused(state, told):
    with pytest.raises(LayoutError) as error:
        check_robot(SPEC, composed(state), LoopOptions())
    assert str(error.value).startswith(told) and "expected the pose of one arm" in str(error.value)
