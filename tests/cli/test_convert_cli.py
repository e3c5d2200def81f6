"""`robolearn dataset convert` as people type it: reports, going on, and the way back to other formats."""

import json

import numpy as np
import pytest
import zarr

from robolearn.cli.main import main


@pytest.fixture
def source(tmp_path):
    """Three episodes of four steps; the second one is damaged."""
    path = tmp_path / "buffer.zarr"
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("data/action", data=np.arange(24, dtype=np.float32).reshape(12, 2), chunks=(4, 2))
    group.create_array("meta/episode_ends", data=np.array([4, 8, 12], np.int64))
    (path / "data/action/1.0").write_bytes(b"no")
    return path


@pytest.fixture
def convert(source, tmp_path):
    def run(*arguments: str) -> int:
        paths = ["--input", str(source), "--output", str(tmp_path / "out.zarr")]
        return main(["dataset", "convert", *paths, *arguments])

    return run


def test_what_was_lost_is_told_in_one_line_each(convert, capsys):
    assert convert("--fps", "5") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Wrote 2 episodes, 8 steps to ")
    notes, left_out = printed.err.splitlines()
    assert notes == "note: the source stores no times: step k of an episode gets k / 5 s"
    assert left_out.startswith("left out: ")
    assert "data/action, steps 4 to 7, cannot be read" in left_out


@pytest.mark.parametrize("option", ["--from", "--format"])
def test_the_report_for_programs_lists_everything(convert, capsys, option):
    assert convert("--fps", "5", option, "diffusion_policy_zarr", "--json", "--workers", "2") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["source_format"], report["num_episodes"], report["num_steps"]) == ("diffusion_policy_zarr", 2, 8)
    assert len(report["skipped"]) == 1


def test_resume_without_anything_to_go_on_with_begins(convert):
    assert convert("--fps", "5", "--resume") == 0


def test_the_way_back_to_another_format(convert, tmp_path, capsys):
    assert convert("--fps", "5") == 0
    back = ["--input", str(tmp_path / "out.zarr"), "--output", str(tmp_path / "back.zarr")]
    assert main(["dataset", "convert", *back, "--to", "diffusion_policy_zarr"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Wrote 2 episodes, 8 steps to {tmp_path / 'back.zarr'}."
    assert zarr.open_group(tmp_path / "back.zarr", mode="r")["data/action"].shape == (8, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers must be at least 1, found 0"),
        (["--jpeg-quality", "0"], "--jpeg-quality is 1 to 100, found 0"),
        (["--num-episodes", "0"], "--num-episodes must be at least 1, found 0"),
        (["--fps", "5", "--camera", "wrist"], "holds no simulator states to render it from"),
        (["--fps", "5", "--crf", "3"], "--crf says nothing about a conversion to robolearn"),
        (["--fps", "5", "--no-next-obs"], "--no-next-obs says nothing about a conversion to robolearn"),
        (["--to", "lerobot_v3", "--num-episodes", "2"], "--num-episodes says nothing about a conversion to lerobot_v3"),
        (["--to", "lerobot_v3", "--from", "rlds"], "--from says nothing about a conversion to lerobot_v3"),
        (["--from", "lerobot"], "Unknown dataset format 'lerobot'"),
        (["--to", "lerobot"], "Unknown export format 'lerobot'"),
    ],
)
def test_mistakes_of_conversion_get_one_line(convert, arguments, message, capsys):
    assert convert(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
