"""`robolearn dataset relabel`, as typed, on datasets that were written before layouts were stored."""

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.datasets.read.reader import Dataset

FILES = Path(__file__).parents[1] / "fixtures" / "before_layouts" / "datasets.tar.gz"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with put_on_plate, avoiding and block_push in it."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open(FILES) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def relabel(*arguments) -> int:
    return main(["dataset", "relabel", *map(str, arguments)])


def test_a_copy_in_another_dialect_is_made_and_replayed_in_its_scene(folder, capsys):
    assert relabel("put_on_plate", "--action", "pose.current.tool.axis_angle", "--output", "copy", "--replay", 1) == 0
    wrote, converted, error, replayed = capsys.readouterr().out.splitlines()
    assert wrote.startswith("Wrote 1 episode")
    assert converted == (
        "Actions are converted: (panda): pose (rot6d), gripper -> (panda): pose relative to the current one (tool "
        "axes, axis_angle), gripper."
    )
    assert re.fullmatch(r"Largest error of a target: \S+ mm and \S+ deg\.", error)
    assert replayed.startswith("Replayed open loop in put_on_plate: 1 of 1 episodes succeed (1 as recorded); largest ")
    assert float(replayed.split()[-1].rstrip(".")) < 0.01  # what moves the servos differs by its rounding and tolerance
    # back again: the numbers that were recorded
    assert relabel("copy", "--action", "pose", "--output", "back", "--replay", 0, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["out_of_reach"] == 0 and report["replay"] is None
    np.testing.assert_allclose(Dataset("back").array("action"), Dataset("put_on_plate").array("action"), atol=1e-6)


def test_what_scenes_in_the_plane_recorded_has_no_whole_pose(folder, capsys):
    assert relabel("avoiding", "--action", "pose", "--output", "copy") == 2
    error = capsys.readouterr().err
    assert (
        "error: avoiding: pose relative to the last target (base axes, xy, no rotation) in the frame 'world' cannot be"
        in error
    )
    assert not Path("copy").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--robot", "left=panda"], "The robot 'panda' is said to be arm 'left'; arms are ['']."),
        (["--robot", "a=b", "c"], "--robot takes NAME, or PREFIX=NAME for each arm, found a=b c."),
        (["--replay", "-1"], "--replay takes a number of episodes, 0 for none; found -1."),
        (["--arm", "left"], "--arm left: put_on_plate has the arms ['']; of several one can be kept."),
    ],
)
def test_what_does_not_fit_is_one_line(folder, capsys, more, words):
    assert relabel("put_on_plate", "--action", "pose.rpy", "--output", "copy", *more) == 2
    assert words in " ".join(capsys.readouterr().err.split())
