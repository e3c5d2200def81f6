"""Numbers that are not what their layout says are found, each with how many and where; those that are, are not."""

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, axis_angle_to_quaternion, matrix_to_rot6d
from robolearn.datasets.checks import validate
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.kinematics.robots import robot

STEPS = 30
TURNS = np.linspace([0.0, 0.0, 0.0], [0.4, -0.3, 0.9], STEPS)
POSITIONS = np.linspace([0.4, 0.0, 0.2], [0.5, 0.1, 0.1], STEPS)
ROT6D = matrix_to_rot6d(axis_angle_to_matrix(TURNS))
OPENING = np.linspace(0.0, 1.0, STEPS)[:, None]


def needs(name):
    """The robot, where its files are."""
    known = robot(name)
    if not known.is_present:
        pytest.skip(f"the files of {name} are not on this machine")
    return known


def found(tmp_path, layout, *numbers):
    """Findings of the check in a dataset of one action, of two episodes that are the same."""
    action = Feature("action", (layout.size,), kind="action", layout=layout)
    rows = np.concatenate(numbers, axis=1).astype(np.float32)
    with DatasetWriter.create(tmp_path / "d.zarr", features([action]), 20, durable=False) as writer:
        for _ in range(2):
            writer.write_episode(EpisodeData(np.arange(STEPS) / 20, {"action": rows}))
    return [finding for finding in validate(tmp_path / "d.zarr") if finding.check == "layout"]


@pytest.mark.parametrize(
    ("layout", "numbers"),
    [
        (ActionLayout((Part("pose"), Part("gripper"))), (POSITIONS, ROT6D, OPENING)),
        (
            ActionLayout((Part("pose", rotation="quaternion"), Part("gripper", scale=(-0.5,), offset=(0.5,)))),
            (POSITIONS, -axis_angle_to_quaternion(TURNS), 1 - 2 * OPENING),
        ),
        (
            ActionLayout((Part("pose", reference="target", rotation="rpy", axes="euler", limit=(-1, 1)),)),
            (np.clip(POSITIONS * 10, -1, 1), TURNS),
        ),
    ],
    ids=["absolute", "quaternions and a scaled gripper", "within its limit"],
)
def test_nothing_is_found_where_numbers_are_what_they_should_be(tmp_path, layout, numbers):
    assert found(tmp_path, layout, *numbers) == []


def test_rows_that_are_no_rotation_are_counted(tmp_path):
    averaged = ROT6D.copy()
    averaged[10:15] = 0.5 * (ROT6D[:5] + ROT6D[25:])
    layout = ActionLayout((Part("pose", arm="left"), Part("gripper", arm="left")))
    (finding,) = found(tmp_path, layout, POSITIONS, averaged, OPENING)
    assert (finding.severity, finding.feature, finding.episode, finding.step) == ("warning", "action", 0, 10)
    assert finding.message.startswith("left pose: 10 of 60 steps are no rotation: its two rows are not of length 1")


def test_a_gripper_in_other_units_is_found(tmp_path):
    (finding,) = found(tmp_path, ActionLayout((Part("gripper"),)), 0.08 * OPENING + 1.0)
    assert finding.message == (
        "gripper: 44 of 60 steps are outside of [0, 1], of which 1 is open (by up to 0.08); does the layout say how "
        "they are scaled?"
    )


def test_numbers_that_will_be_clipped_are_found(tmp_path):
    layout = ActionLayout((Part("pose", reference="current", rotation="none", limit=(-1, 1)),))
    (finding,) = found(tmp_path, layout, np.linspace(-1.5, 1.5, STEPS)[:, None] * [1, 0, 0])
    assert (
        finding.message
        == "pose: 20 of 60 steps are outside of -1 to 1: what carries them out clips them (by up to 0.5)"
    )


def test_joints_beyond_the_limits_of_their_robot_are_counted_and_the_worst_is_named(tmp_path):
    panda = needs("panda")
    joints = ActionLayout((Part("joints", panda.joints),), (("", "panda"),))
    rows = np.tile(panda.home_rad, (STEPS, 1))
    assert found(tmp_path / "home", joints, rows) == []
    rows[3:5, 1], rows[7, 3] = 1.7628 + 0.1, 1.0  # joint2 ends at 1.7628, joint4 at -0.0698
    (finding,) = found(tmp_path / "far", joints, rows)
    assert (finding.severity, finding.episode, finding.step) == ("warning", 0, 3)
    assert finding.message == (
        "joints: 6 of 60 steps are beyond the limits of panda's joints, farthest of joint4 (by up to 1.07); is their "
        "unit the radian?"
    )


@pytest.mark.parametrize(
    ("names", "known", "told"),
    [
        (("a", "b"), "panda", "joints: they are called a, b; those of panda joint1, joint2, joint3, joint4, joint5, "),
        (("a", "b"), "pandas", "joints: Unknown robot 'pandas'. Did you mean 'panda'? Known: "),
    ],
)
def test_joints_of_another_robot_and_an_unknown_one_are_told(tmp_path, names, known, told):
    layout = ActionLayout((Part("joints", names),), (("", known),))
    (finding,) = found(tmp_path, layout, np.zeros((STEPS, len(names))))
    assert finding.severity == "warning" and finding.message.startswith(told)
