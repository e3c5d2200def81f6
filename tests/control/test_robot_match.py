"""Whether a policy fits a robot, and the loop's rate both."""

import pytest
from scripted_world import CAPABILITIES, SPEC

from robolearn.control.loop import LoopOptions, check_robot
from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.execution.policy_spec import PolicySpec
from robolearn.hardware.robot import Robot

POSE = ("x", "y", "z", *(f"rot6d_{i}" for i in range(6)), "gripper")


def composed() -> Robot:
    class Arm:
        capabilities = CAPABILITIES
        observation_features = features([Feature("observation.state", (10,), names=POSE)])

    return Robot("test", Arm(), (), None)  # type: ignore[arg-type]


def spec(name: str = "observation.state", width: int = 10, names: tuple[str, ...] | None = None) -> PolicySpec:
    action = Feature("action", (width,), kind="action", names=names)
    return PolicySpec(features([Feature(name, (10,))]), action, 2, 8, 20.0)


@pytest.mark.parametrize("policy", [SPEC, spec(names=POSE)], ids=["without names", "with the robot's names"])
def test_a_policy_of_the_robots_features_fits(policy):
    check_robot(policy, composed(), LoopOptions())


@pytest.mark.parametrize(
    ("policy", "options", "error", "message"),
    [
        (
            spec("observation.stat"),
            LoopOptions(),
            FeatureError,
            "'observation.stat', which robot 'test' lacks",
        ),
        (
            spec(width=7),
            LoopOptions(),
            FeatureError,
            r"robot 'test' expects feature 'action' of shape \(10,\); the policy gives shape \(7,\)",
        ),
        (
            spec(names=tuple(f"joint_{i}" for i in range(10))),
            LoopOptions(),
            FeatureError,
            r"robot 'test' expects the elements of 'action' to be \['x', 'y'.*the policy gives \['joint_0', ",
        ),
        (SPEC, LoopOptions(rate_hz=10), ConfigError, "10 Hz is below the policy's 20 Hz"),
        (SPEC, LoopOptions(rate_hz=1000), ConfigError, r"1000 Hz is above what robot 'test' accepts \(250 Hz\)"),
    ],
)
def test_a_policy_that_does_not_fit_the_robot_is_refused(policy, options, error, message):
    with pytest.raises(error, match=message):
        check_robot(policy, composed(), options)
