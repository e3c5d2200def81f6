"""features --layout: what the numbers of an imported dataset mean is said once, and stored."""

import json

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.features import Changes, change_features
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.kinematics.robots import robot

ROWS = np.linspace(-1.0, 1.0, 28, dtype=np.float32).reshape(4, 7)
OURS = ActionLayout((Part("joints", ("a", "b", "c", "d", "e", "f"), scale=np.pi / 180), Part("gripper")))


@pytest.fixture
def imported(tmp_path):
    """As a robomimic file without its controller is imported: 7 numbers without names, beside some with names."""
    found = features([
        Feature("action", (7,), kind="action"),
        Feature("observation.joint_position", (7,), names=(*(f"{k}.pos" for k in "abcdef"), "gripper.pos")),
        Feature("observation.twist", (6,)),
    ])  # fmt: skip
    values = {"action": ROWS, "observation.joint_position": ROWS, "observation.twist": ROWS[:, :6]}
    with DatasetWriter.create(tmp_path / "a.zarr", found, 10, durable=False) as writer:
        writer.write_episode(EpisodeData(np.arange(4) / 10, values))
    return tmp_path / "a.zarr"


def said(imported, tmp_path, **layouts):
    names = {"action": "action", "state": "observation.joint_position", "twist": "observation.twist"}
    changes = Changes({}, {}, {}, layouts={names[key]: words for key, words in layouts.items()})
    made = change_features(Dataset(imported), tmp_path / "b.zarr", changes)
    return Dataset(made.output), made.notes


def test_a_dialect_is_stored_and_the_data_stays(imported, tmp_path):
    made, _ = said(imported, tmp_path, action="robosuite")
    pose, gripper = made.features["action"].layout.parts
    assert (pose.reference, pose.rotation, gripper.scale) == ("current", "axis_angle", (-0.5,))
    assert np.array_equal(made.array("action"), ROWS)
    assert made.features["observation.joint_position"] == Dataset(imported).features["observation.joint_position"]


def test_the_gripper_is_there_where_the_numbers_are_so_many(imported, tmp_path):
    made, _ = said(imported, tmp_path, action="pose.axis_angle", twist="pose.axis_angle")
    assert [part.kind for part in made.features["action"].layout.parts] == ["pose", "gripper"]
    assert [part.kind for part in made.features["observation.twist"].layout.parts] == ["pose"]


def test_a_whole_layout_comes_from_a_file_and_a_note_says_how_elements_were_called(imported, tmp_path):
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(OURS.to_dict()))
    made, notes = said(imported, tmp_path, state=str(file))
    assert made.features["observation.joint_position"].layout == OURS
    assert made.features["observation.joint_position"].names == ("a", "b", "c", "d", "e", "f", "gripper")
    assert notes[-1] == (
        "observation.joint_position: a.pos, b.pos, c.pos, d.pos, e.pos, f.pos, gripper.pos are now called a, b, c, d, "
        "e, f, gripper, in this order"
    )


def test_joints_are_called_as_the_robots_are_and_a_gripper_is_there_where_the_numbers_are_so_many(imported, tmp_path):
    changes = Changes({}, {}, {}, layouts={"action": "joints"}, robots={"": "ur5e"})
    layout = Dataset(change_features(Dataset(imported), tmp_path / "b.zarr", changes).output).features["action"].layout
    assert layout.names == (*robot("ur5e").joints, "gripper") and layout.robots == (("", "ur5e"),)
    changes = Changes({}, {}, {}, layouts={"action": "joints"}, robots={"": "panda"})
    layout = Dataset(change_features(Dataset(imported), tmp_path / "c.zarr", changes).output).features["action"].layout
    assert layout.names == robot("panda").joints


def user_sees(capsys, imported, *words):
    status = main(["dataset", "features", str(imported), "--output", str(imported.parent / "b.zarr"), *words])
    assert status == 2 and not (imported.parent / "b.zarr").exists()
    return capsys.readouterr().err.strip().removeprefix("error: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--layout", "action=pose"), " has 7 numbers; 'pose' has 10 with a gripper, 9 without."),
        (("--layout", "action=pos"), "Unknown word 'pos' in the action layout 'pos'. Did you mean 'pose'?"),
        (("--layout", "actoin=pose"), "--layout: Unknown feature 'actoin'. Did you mean 'action'?"),
        (("--layout", "action"), "--layout takes FEATURE=LAYOUT, found action."),
        (
            ("--layout", "action=pose.axis_angle", "--names", "action=a,b,c,d,e,f,g"),
            "--layout action=pose.axis_angle names its elements; leave --names and --kind out for it.",
        ),
        (("--layout", "action=nowhere.json"), "nowhere.json is no layout in json: "),
        (
            ("--layout", "action=joints"),
            "'joints' has unnamed joints with a gripper, unnamed joints without. Say other",
        ),
        (
            ("--layout", "action=joints", "--robot", "pandas"),
            "Unknown robot 'pandas'. Did you mean 'panda'? Known: ",
        ),
        (
            ("--layout", "action=pose.axis_angle", "--robot", "pandas"),
            "Unknown robot 'pandas'. Did you mean 'panda'? Known: ",
        ),
        (("--robot", "panda"), "--robot says whose joints a --layout has; give --layout FEATURE=LAYOUT with it."),
    ],
)
def test_what_cannot_be_is_refused_with_what_it_has(capsys, imported, words, told):
    assert told in user_sees(capsys, imported, *words)


def test_a_layout_of_another_length_and_one_that_contradicts_itself_are_refused(capsys, imported, tmp_path):
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(OURS.to_dict()))
    assert (
        f"--layout observation.twist={file}: 'observation.twist' has shape (6,), and the layout (joints (scaled), "
        in (user_sees(capsys, imported, "--layout", f"observation.twist={file}"))
    )
    file.write_text(json.dumps({"parts": [{"kind": "pose", "names": ["x"]}]}))
    assert f"{file}: " in user_sees(capsys, imported, "--layout", f"action={file}")
    file.write_text("[" * 100_000)
    assert f"{file} is no layout in json: maximum recursion" in user_sees(
        capsys, imported, "--layout", f"action={file}"
    )


def test_what_a_dataset_says_itself_is_not_said_again(capsys, imported, tmp_path):
    made, _ = said(imported, tmp_path, action="robosuite")
    told = main(
        ["dataset", "features", str(made.path), "--output", str(tmp_path / "c.zarr"), "--layout", "action=calvin"]
    )
    assert (
        told == 2
        and "b.zarr says itself what the numbers of 'action' mean: pose relative to" in capsys.readouterr().err
    )
