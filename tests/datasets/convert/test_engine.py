"""The one engine of all imports: resuming, workers, refusals, damaged episodes. Sources are small replay buffers."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.diffusion_policy import reader
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.unfinished import Unfinished
from robolearn.datasets.convert.wording import changes, ranges
from robolearn.datasets.read.reader import Dataset

EPISODES, LENGTH = 8, 5


@pytest.fixture
def source(tmp_path):
    """Eight episodes of five steps with a camera; one chunk an episode."""
    path = tmp_path / "buffer.zarr"
    group = zarr.create_group(path, zarr_format=2)
    steps = np.arange(EPISODES * LENGTH)
    images = np.broadcast_to(steps[:, None, None, None].astype(np.uint8), (len(steps), 32, 32, 3))
    group.create_array("data/action", data=np.stack([steps, -steps], 1).astype(np.float32), chunks=(LENGTH, 2))
    group.create_array("data/camera", data=images, chunks=(LENGTH, 32, 32, 3))
    group.create_array("meta/episode_ends", data=np.arange(1, EPISODES + 1) * LENGTH)
    return path


def options(**changes):
    return ConvertOptions(fps=10, **changes)


PROGRAM = """
import sys
from pathlib import Path
from robolearn.datasets.convert.diffusion_policy import reader
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions

def progress(done, total):
    print(done, flush=True)
    if done >= {stop_at}:
        sys.stdin.readline()  # stand still in mid-conversion

if __name__ == "__main__":
    options = ConvertOptions(fps=10, workers={workers}, progress=progress)
    convert_dataset(Path(sys.argv[1]), Path(sys.argv[2]), options)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a converting process that stands still after some episodes; waits until it does."""
    started = []

    def begin(source: Path, output: Path, stop_at: int, workers: int = 1) -> subprocess.Popen:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(stop_at=stop_at, workers=workers))
        process = subprocess.Popen(
            [sys.executable, str(program), str(source), str(output)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        while (line := process.stdout.readline()) and int(line) < stop_at:
            pass
        assert line, "the process ended before it was stopped"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_a_killed_conversion_goes_on_where_it_was(source, tmp_path, start, workers):
    convert_dataset(source, tmp_path / "whole.zarr", options())
    process = start(source, tmp_path / "out.zarr", stop_at=3, workers=workers)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out.zarr").exists()
    seen = []
    report = convert_dataset(
        source, tmp_path / "out.zarr", options(resume=True, progress=lambda done, total: seen.append(done))
    )
    assert seen == [4, 5, 6, 7, 8], "three were there already"
    assert (report.num_episodes, report.num_steps) == (EPISODES, EPISODES * LENGTH)
    assert Dataset(tmp_path / "out.zarr").checksum() == Dataset(tmp_path / "whole.zarr").checksum()
    assert [Dataset(tmp_path / "out.zarr").episodes[k]["source_episode"] for k in range(8)] == list(range(8))
    assert not list(tmp_path.glob("*.unfinished"))
    assert not list((tmp_path / "out.zarr").rglob("*.jsonl.new"))


@pytest.mark.realtime
def test_a_conversion_killed_at_any_moment_goes_on(source, tmp_path):
    """Killed again and again after a random time; in the end the dataset is the one of an undisturbed conversion."""
    convert_dataset(source, tmp_path / "whole.zarr", options())
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(stop_at=99, workers=1).replace("fps=10,", 'fps=10, resume="resume" in sys.argv,'))
    rng = np.random.default_rng(0)
    resume: list[str] = []
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, str(program), str(source), str(tmp_path / "out.zarr"), *resume],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        resume = ["resume"]  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()  # something is committed
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        if (tmp_path / "out.zarr").exists():
            break
    if not (tmp_path / "out.zarr").exists():
        convert_dataset(source, tmp_path / "out.zarr", options(resume=True))
    assert Dataset(tmp_path / "out.zarr").checksum() == Dataset(tmp_path / "whole.zarr").checksum()


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_result(source, tmp_path):
    in_flight = []

    def progress(done: int, total: int) -> None:
        in_flight.append(len(list((tmp_path / "3.zarr.unfinished" / "frames").iterdir())))

    convert_dataset(source, tmp_path / "1.zarr", options(workers=1))
    convert_dataset(source, tmp_path / "3.zarr", options(workers=3, progress=progress))
    one, three = Dataset(tmp_path / "1.zarr"), Dataset(tmp_path / "3.zarr")
    assert one.checksum() == three.checksum()
    assert [e["source_episode"] for e in three.episodes] == list(range(EPISODES))
    assert max(in_flight) <= 4, "the episodes read ahead are bounded"


def test_source_and_witness_are_opened_once_where_one_process_reads(source, tmp_path, monkeypatch):
    opened = []
    for name in ("open_source", "open_witness"):
        how = getattr(reader, name)
        monkeypatch.setattr(reader, name, lambda *args, how=how, name=name: opened.append(name) or how(*args))
    convert_dataset(source, tmp_path / "out.zarr", options(workers=1))
    assert opened == ["open_source", "open_witness"]


def test_an_empty_folder_is_not_in_the_way(source, tmp_path):
    (tmp_path / "out.zarr").mkdir()
    assert convert_dataset(source, tmp_path / "out.zarr", options(max_episodes=1)).num_episodes == 1
    assert Dataset(tmp_path / "out.zarr").num_episodes == 1


def test_an_existing_output_is_refused_and_untouched(source, tmp_path, make_dataset):
    taken = make_dataset(2)
    before = sorted(str(p) for p in taken.rglob("*"))
    with pytest.raises(DatasetError, match=r"small\.zarr exists already"):
        convert_dataset(source, taken, options())
    assert sorted(str(p) for p in taken.rglob("*")) == before
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_dataset_of_ours_is_not_taken_for_another_format(make_dataset, tmp_path):
    with pytest.raises(DatasetError, match="is in our own format already; --to writes it in another one"):
        convert_dataset(make_dataset(2), tmp_path / "out.zarr")


def test_two_conversions_to_one_output_do_not_mix(source, tmp_path, start):
    process = start(source, tmp_path / "out.zarr", stop_at=2)
    with pytest.raises(DatasetError, match=rf"out\.zarr is being written by process {process.pid};"):
        convert_dataset(source, tmp_path / "out.zarr", options(resume=True))
    process.communicate("\n" * EPISODES)
    assert process.returncode == 0
    assert Dataset(tmp_path / "out.zarr").num_episodes == EPISODES


def test_an_unfinished_conversion_is_neither_overwritten_nor_mixed_with_another(source, tmp_path, start):
    output = tmp_path / "out.zarr"
    process = start(source, output, stop_at=3)
    process.kill()
    process.wait()
    with pytest.raises(DatasetError, match=r"unfinished holds an unfinished conversion; go on with it with --resume"):
        convert_dataset(source, output, options())
    with pytest.raises(DatasetError, match=r"begun with image_codec 'jpeg', found 'png'"):
        convert_dataset(source, output, options(resume=True, image_codec="png"))
    chunk = source / "data/action/7.0"
    chunk.write_bytes(chunk.read_bytes())
    os.utime(chunk, ns=(0, 0))
    with pytest.raises(DatasetError, match="the content of the source has changed"):
        convert_dataset(source, output, options(resume=True))
    shutil.rmtree(tmp_path / "out.zarr.unfinished")
    with pytest.raises(
        DatasetError, match=r"no unfinished conversion .*out\.zarr\.unfinished to go on with; leave out"
    ):
        convert_dataset(source, output, options(resume=True))
    assert not output.exists() and not list(tmp_path.glob("*.unfinished"))


def test_an_interrupt_keeps_what_is_done(source, tmp_path, caplog):
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_dataset(source, tmp_path / "out.zarr", options(progress=interrupt))
    assert not (tmp_path / "out.zarr").exists()
    assert "keeps 2 of 8 episodes; the same command with --resume goes on from there" in caplog.text
    assert convert_dataset(source, tmp_path / "out.zarr", options(resume=True)).num_episodes == EPISODES


def test_a_damaged_episode_is_left_out_and_named(source, tmp_path):
    truncated = source / "data/action/4.0"
    truncated.write_bytes(truncated.read_bytes()[:3])
    report = convert_dataset(source, tmp_path / "out.zarr", options())
    assert report.num_episodes == EPISODES - 1
    assert len(report.skipped) == 1
    assert "data/action, steps 0 to 4 (rows 20 to 24), cannot be read" in report.skipped[0]
    assert [e["source_episode"] for e in Dataset(tmp_path / "out.zarr").episodes] == [0, 1, 2, 3, 5, 6, 7]


def test_what_was_left_out_is_remembered_when_going_on(source, tmp_path, start):
    (source / "data/action/0.0").write_bytes(b"no")
    process = start(source, tmp_path / "out.zarr", stop_at=3)
    process.kill()
    process.communicate()
    report = convert_dataset(source, tmp_path / "out.zarr", options(resume=True))
    assert report.num_episodes == EPISODES - 1
    assert "steps 0 to 4" in report.skipped[0]


def test_a_source_without_a_whole_episode_leaves_nothing_behind(source, tmp_path):
    for episode in range(EPISODES):
        (source / f"data/action/{episode}.0").write_bytes(b"no")
    with pytest.raises(DatasetError, match=r"None of 8 episodes can be read: .*data/action, steps 0 to 4"):
        convert_dataset(source, tmp_path / "out.zarr", options())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["buffer.zarr"]


def test_masks_keep_meaning_the_same_episodes_when_some_are_left_out(source, tmp_path):
    document = {
        "version": 1, "fps": 10.0, "metadata": {"robot": "none"}, "sim_env": None, "timestamp": "timestamp",
        "features": [{"name": "action", "shape": [2], "dtype": "float32", "kind": "action"}],
        "keys": {"action": "action"}, "masks": {"good": [0, 3, 6]}, "source_episodes": [], "episodes": [],
    }  # fmt: skip
    zarr.open_group(source, mode="a").attrs["robolearn"] = document
    (source / "data/action/3.0").write_bytes(b"no")
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())
    mask = Dataset(tmp_path / "out.zarr").mask("good")
    assert np.flatnonzero(mask).tolist() == [0, 5]


def test_provenance_says_where_it_came_from_and_what_was_lost(source, tmp_path):
    convert_dataset(source, tmp_path / "out.zarr", options(image_codec="png"))
    provenance = Dataset(tmp_path / "out.zarr").attributes["metadata"]["provenance"]
    assert provenance["source"] == str(source)
    assert provenance["format"] == "diffusion_policy_zarr"
    assert provenance["options"]["image_codec"] == "png"
    assert provenance["notes"] == ["the source stores no times: step k of an episode gets k / 10 s"]
    assert len(provenance["sha256"]) == 64


def test_after_the_machine_stopped_everything_is_checked_before_going_on(source, tmp_path, start):
    """Commits do not wait for the disk; here a frame was lost in the power cut."""
    process = start(source, tmp_path / "out.zarr", stop_at=3)
    process.kill()
    process.communicate()
    unfinished = tmp_path / "out.zarr.unfinished"
    state = json.loads((unfinished / "conversion.json").read_bytes())
    (unfinished / "conversion.json").write_text(json.dumps(state | {"boot": "an earlier one"}))
    frame = unfinished / "dataset/data/observation.images.camera/4.0.0.0"
    content = frame.read_bytes()
    frame.write_bytes(content[:-1] + b"x")
    with pytest.raises(DatasetError, match="was damaged when the machine stopped; remove it to start again"):
        convert_dataset(source, tmp_path / "out.zarr", options(resume=True))
    frame.write_bytes(content)
    assert convert_dataset(source, tmp_path / "out.zarr", options(resume=True)).num_episodes == EPISODES


def test_options_without_effect_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="--camera wrist: .* holds no simulator states to render it from"):
        convert_dataset(source, tmp_path / "out.zarr", options(cameras=("wrist",)))
    assert [p.name for p in tmp_path.iterdir()] == ["buffer.zarr"]


def test_a_damaged_state_is_explained(source, tmp_path, start):
    process = start(source, tmp_path / "out.zarr", stop_at=1)
    process.kill()
    process.communicate()
    (tmp_path / "out.zarr.unfinished" / "conversion.json").write_text("{")
    with pytest.raises(DatasetError, match=r"conversion\.json is damaged .* remove .*unfinished and convert again"):
        convert_dataset(source, tmp_path / "out.zarr", options(resume=True))


def test_a_full_disk_stops_the_conversion_and_skips_nothing(source, tmp_path, monkeypatch):
    from robolearn.datasets.write.writer import DatasetWriter

    write = DatasetWriter.write_episode

    def full(self, episode):
        if self.num_episodes == 3:
            raise DatasetError("Saving failed: No space left on device.") from OSError(28, "No space left on device")
        return write(self, episode)

    monkeypatch.setattr(DatasetWriter, "write_episode", full)
    with pytest.raises(DatasetError, match="No space left"):
        convert_dataset(source, tmp_path / "out.zarr", options())
    monkeypatch.undo()
    report = convert_dataset(source, tmp_path / "out.zarr", options(resume=True))
    assert (report.num_episodes, report.skipped) == (EPISODES, ())


def test_an_error_of_a_worker_reaches_the_caller(source, tmp_path):
    for episode in range(1, EPISODES):
        (source / f"data/camera/{episode}.0.0.0").write_bytes(b"no")
    report = convert_dataset(source, tmp_path / "out.zarr", options(workers=2))
    assert report.num_episodes == 1
    assert len(report.skipped) == EPISODES - 1
    assert all("data/camera" in line for line in report.skipped)


def test_a_worker_that_is_killed_is_an_error_and_nothing_is_lost(source, tmp_path):
    def kill(done: int, total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(
        DatasetError, match=r"A worker process ended \(killed by SIGKILL\); if memory was short, use fewer"
    ):
        convert_dataset(source, tmp_path / "out.zarr", options(workers=2, progress=kill))
    report = convert_dataset(source, tmp_path / "out.zarr", options(resume=True))
    assert (report.num_episodes, report.skipped) == (EPISODES, ())


def test_an_unfinished_folder_without_a_state_is_begun_anew(source, tmp_path):
    begun = Unfinished(tmp_path / "out.zarr")
    (begun.path / "dataset").mkdir()
    (begun.path / "dataset" / "half").write_text("x")
    begun.release()
    assert convert_dataset(source, tmp_path / "out.zarr", options()).num_episodes == EPISODES


def test_what_is_left_of_a_finished_conversion_is_not_gone_on_with(source, tmp_path):
    """Killed between giving the dataset its name and removing the rest; then the user removed the dataset."""
    left = tmp_path / "out.zarr.unfinished"
    left.mkdir()
    (left / "conversion.json").write_text("{}")
    assert convert_dataset(source, tmp_path / "out.zarr", options()).num_episodes == EPISODES
    assert not left.exists()


def test_ranges_in_words():
    assert ranges([5, 0, 1, 2, 7, 8]) == "0-2, 5, 7-8"
    assert ranges([]) == ""


def test_changes_are_found_with_their_steps():
    assert changes(["a", "a", "b", "b", "a"]) == [(0, "a"), (2, "b"), (4, "a")]


def test_json_of_the_state_is_readable(source, tmp_path, start):
    process = start(source, tmp_path / "out.zarr", stop_at=1)
    state = json.loads((tmp_path / "out.zarr.unfinished" / "conversion.json").read_bytes())
    assert (state["format"], state["options"]["fps"]) == ("diffusion_policy_zarr", 10)
    process.kill()


def test_the_old_name_of_a_source_is_answered_with_the_new_one():
    with pytest.raises(ImportError, match="Source is now EpisodeSource"):
        from robolearn.datasets.convert.protocol import Source  # noqa: F401
