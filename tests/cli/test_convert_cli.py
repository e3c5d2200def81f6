"""`robolearn dataset convert` as people type it: reports, going on, and the way back to other formats."""

import json
import os

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
    assert "data/action, steps 0 to 3 (rows 4 to 7), cannot be read" in left_out


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--from", "--format"])
def test_the_report_for_programs_lists_everything(convert, capsys, option):
    assert convert("--fps", "5", option, "diffusion_policy_zarr", "--json", "--workers", "2") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["source_format"], report["num_episodes"], report["num_steps"]) == ("diffusion_policy_zarr", 2, 8)
    assert len(report["skipped"]) == 1


@pytest.mark.parametrize("direction", [(), ("--to", "lerobot_v3")])
def test_resume_without_anything_to_go_on_with_is_refused(convert, tmp_path, capsys, direction):
    source = tmp_path / "ours.zarr"
    assert convert("--fps", "5") == 0
    (tmp_path / "out.zarr").rename(source)
    arguments = [*direction, "--input", str(source)] if direction else ["--fps", "5"]
    capsys.readouterr()
    assert convert(*arguments, "--resume") == 2
    expected = f"There is no unfinished conversion {tmp_path / 'out.zarr.unfinished'} to go on with; leave out --resume"
    assert expected in one_line(capsys)
    assert not list(tmp_path.glob("out*"))


def one_line(capsys) -> str:
    """What was said, which is one error line."""
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_urls_are_refused_in_full(convert, tmp_path, capsys):
    assert convert("--input", "http://host:80/lerobot", "--fps", "5") == 2
    assert "http://host:80/lerobot is a URL; other formats are read from local folders only" in one_line(capsys)
    assert convert("--fps", "5") == 0
    capsys.readouterr()
    assert convert("--input", str(tmp_path / "out.zarr"), "--output", "http://x/y", "--to", "lerobot_v3") == 2
    assert "http://x/y is a URL; choose a folder of this machine" in one_line(capsys)


def test_from_one_foreign_format_to_another_takes_two_steps(convert, source, tmp_path, capsys):
    assert convert("--to", "lerobot_v3") == 2
    error = one_line(capsys)
    assert "is in diffusion_policy_zarr; from there to lerobot_v3 takes two steps: " in error
    assert f"robolearn dataset convert --input {source} --output NAME.zarr and then " in error
    assert f"robolearn dataset convert --input NAME.zarr --output {tmp_path / 'out.zarr'} --to lerobot_v3" in error


def test_a_wrong_format_is_blamed_and_not_the_data(convert, tmp_path, capsys):
    assert convert("--from", "lerobot_v3") == 2
    assert "is in diffusion_policy_zarr, not in lerobot_v3: leave out --from." in one_line(capsys)
    (tmp_path / "empty").mkdir()
    assert convert("--from", "lerobot_v3", "--input", str(tmp_path / "empty")) == 2
    assert "does not look like lerobot_v3: leave out --from to have its format found out." in one_line(capsys)


def test_a_folder_of_datasets_names_them(convert, source, capsys):
    (source.parent / "own.zarr").mkdir()
    (source.parent / "own.zarr" / ".zattrs").write_text('{"robolearn_format": 1}')
    assert convert("--input", str(source.parent)) == 2
    named = "Did you mean one inside of it: buffer.zarr, own.zarr?"
    assert f"is not in a format that can be read. {named}" in one_line(capsys)


def test_a_truncated_hdf5_file_is_called_so(convert, tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "demo.hdf5"
    with h5py.File(path, "w") as file:
        file["data/demo_0/actions"] = np.zeros((100, 7))
    assert convert("--input", str(path)) == 2
    assert "is a whole HDF5 file, but its groups are not robomimic's, ACT's or robosuite's" in one_line(capsys)
    for size in (path.stat().st_size // 2, 0):
        os.truncate(path, size)
        assert convert("--input", str(path)) == 2
        assert f"{path} is a damaged or truncated HDF5 file" in one_line(capsys)


def test_one_episode_is_one_episode(convert, capsys):
    assert convert("--fps", "5", "--num-episodes", "1") == 0
    assert capsys.readouterr().out.startswith("Wrote 1 episode, 4 steps to ")


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
        (["--to", "robomimic_hdf5", "--video", "h264"], "--video says nothing about a conversion to robomimic_hdf5"),
        (["--to", "lerobot_v3", "--compress"], "--compress says nothing about a conversion to lerobot_v3"),
        (["--to", "diffusion_policy_zarr", "--crf", "3"], "--crf says nothing about a conversion to diffusion_policy"),
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
