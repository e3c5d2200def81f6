"""What all exports share: choice of episodes, the folder in the making, resuming, one-line errors."""

import errno
import json
import logging
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import av
import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.export import registry
from robolearn.datasets.convert.export.exported_dataset import ExportedDataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import EXPORTERS, export_dataset
from robolearn.datasets.convert.export.work import Part, work_folder
from robolearn.datasets.convert.origin import Origin
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

pytest.importorskip("pyarrow")
pytest.importorskip("h5py")

FORMATS = sorted(EXPORTERS)


def files(path: Path) -> dict[str, Path]:
    """Every file of an export, by name."""
    if path.is_file():
        return {"": path}
    return {str(file.relative_to(path)): file for file in sorted(path.rglob("*")) if file.is_file()}


def assert_same(one: Path, two: Path) -> None:
    """Files hold no times of their own or random numbers, so bytes are equal; but x264 has been seen to encode the same
    tiny pictures in two ways, so videos have the same times and nearly the same pictures."""
    ours, theirs = files(one), files(two)
    assert ours.keys() == theirs.keys()
    for name, file in ours.items():
        if file.suffix != ".mp4":
            assert file.read_bytes() == theirs[name].read_bytes(), name
            continue
        with av.open(str(file)) as a, av.open(str(theirs[name])) as b:
            frames, others = list(a.decode(video=0)), list(b.decode(video=0))
        assert [frame.time for frame in frames] == [frame.time for frame in others]
        for frame, other in zip(frames, others, strict=True):
            difference = frame.to_ndarray(format="rgb24").astype(int) - other.to_ndarray(format="rgb24")
            assert abs(difference).mean() < 8


def test_episodes_in_quarantine_and_outside_the_mask_are_left_out(rich_dataset):
    set_mask(rich_dataset, "quarantine", [1])
    set_mask(rich_dataset, "good", [1, 2])
    exported = ExportedDataset.open(rich_dataset, "good")
    assert exported.episodes == (2,)
    assert ExportedDataset.open(rich_dataset, None).episodes == (0, 2)
    assert exported.num_steps == 4 and exported.slice(0) == slice(6, 10)
    assert any("2 of 3 episodes are left out" in note for note in exported.notes(carries_sim=True))


def test_labels_are_the_edited_ones(rich_dataset):
    edit_episodes(rich_dataset, [1], {"task": "another task"})
    exported = ExportedDataset.open(rich_dataset, None)
    assert [record["task"] for record in exported.records] == ["task 0", "another task", "task 0"]


def test_masks_are_numbered_as_in_the_export(rich_dataset):
    set_mask(rich_dataset, "quarantine", [0])
    set_mask(rich_dataset, "train", [0, 2])
    assert ExportedDataset.open(rich_dataset, None).masks == {"train": [1]}


def test_steps_are_read_across_episodes_and_over_gaps(rich_dataset):
    set_mask(rich_dataset, "ends", [0, 2])
    exported, dataset = ExportedDataset.open(rich_dataset, "ends"), Dataset(rich_dataset)
    kept = [*range(5), *range(6, 10)]
    for name in ("observation.state", "observation.closed"):
        assert np.array_equal(exported.read(name, 0, 9), dataset.array(name)[kept])
        assert np.array_equal(exported.read(name, 4, 6), dataset.array(name)[kept[4:6]])
    images = np.stack([dataset.image("observation.images.front", step) for step in kept[3:7]])
    assert np.array_equal(exported.read("observation.images.front", 3, 7), images)


def test_origin_survives_json(rich_dataset):
    set_mask(rich_dataset, "train", [0])
    origin = ExportedDataset.open(rich_dataset, None).origin(
        {name: name for name in Dataset(rich_dataset).features}, "t"
    )
    assert Origin.from_json(json.loads(json.dumps(origin.to_json())), "here") == origin


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("features"),
        lambda d: d.update(version=99),
        lambda d: d.update(features=[{"name": "x"}]),
        lambda d: d["keys"].pop("action"),
        lambda d: d.update(masks=[1]),
    ],
)
def test_a_damaged_origin_is_one_line(rich_dataset_to_read, damage):
    exported = ExportedDataset.open(rich_dataset_to_read, None)
    document = exported.origin({name: name for name in exported.features}, "t").to_json()
    damage(document)
    with pytest.raises(DatasetError, match=r"^meta/robolearn\.json .*") as caught:
        Origin.from_json(document, "meta/robolearn.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_an_existing_output_is_not_touched(rich_dataset_to_read, tmp_path, name):
    output = tmp_path / "taken"
    output.write_text("mine")
    with pytest.raises(DatasetError, match="exists already"):
        export_dataset(rich_dataset_to_read, output, name)
    assert output.read_text() == "mine" and not (tmp_path / "taken.unfinished").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_folder_is_not_in_the_way(rich_dataset_to_read, tmp_path, name):
    (tmp_path / "out").mkdir()
    export_dataset(rich_dataset_to_read, tmp_path / "out", name)
    assert (tmp_path / "out").is_file() == (name == "robomimic_hdf5")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", FORMATS)
def test_two_workers_write_what_one_writes(rich_dataset_to_read, tmp_path, name):
    one = export_dataset(rich_dataset_to_read, tmp_path / "one", name, ExportOptions(video="h264"))
    two = export_dataset(rich_dataset_to_read, tmp_path / "two", name, ExportOptions(video="h264", workers=2))
    assert (one.num_episodes, one.num_steps) == (two.num_episodes, two.num_steps) == (3, 10)
    assert one.notes == two.notes
    assert_same(one.output, two.output)
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize("name", FORMATS)
def test_an_interrupted_export_goes_on_and_ends_the_same(rich_dataset_to_read, tmp_path, name, caplog):
    whole = export_dataset(rich_dataset_to_read, tmp_path / "whole", name, ExportOptions(video="h264"))

    def interrupt(done: int, total: int) -> None:
        assert total > 2
        if done == 2:
            raise KeyboardInterrupt

    output = tmp_path / "resumed"
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        export_dataset(rich_dataset_to_read, output, name, ExportOptions(video="h264", progress=interrupt))
    assert not output.exists() and "--resume" in caplog.text
    with pytest.raises(DatasetError, match="go on with it with --resume, or remove it"):
        export_dataset(rich_dataset_to_read, output, name, ExportOptions(video="h264"))
    with pytest.raises(DatasetError, match="the options have changed"):
        export_dataset(rich_dataset_to_read, output, name, ExportOptions(video="h264", crf=40, resume=True))
    seen: list[int] = []
    options = ExportOptions(video="h264", resume=True, progress=lambda done, _: seen.append(done))
    export_dataset(rich_dataset_to_read, output, name, options)
    assert seen[0] >= 2, "the parts made before were made again"
    assert_same(output, whole.output)
    assert not (tmp_path / "resumed.unfinished").exists()


def test_a_label_edited_meanwhile_stops_the_resume(rich_dataset, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_dataset(rich_dataset, tmp_path / "out", "robomimic_hdf5", ExportOptions(progress=interrupt))
    edit_episodes(rich_dataset, [0], {"success": False})
    with pytest.raises(DatasetError, match="its labels or the options have changed"):
        export_dataset(rich_dataset, tmp_path / "out", "robomimic_hdf5", ExportOptions(resume=True))


def test_nothing_is_left_of_an_export_that_could_not_begin(make_dataset, tmp_path):
    with pytest.raises(ConfigError, match="Unknown feature"):
        export_dataset(make_dataset(3), tmp_path / "out", "lerobot_v3", ExportOptions(rename={"nothing": "x"}))
    assert not list(tmp_path.glob("out*"))


def test_only_one_process_makes_an_output(tmp_path):
    with work_folder(tmp_path / "out", "a", resume=False) as work:
        with pytest.raises(DatasetError, match="being written by process"), work_folder(tmp_path / "out", "a", True):
            pass
        work.result.write_text("done")
    assert (tmp_path / "out").read_text() == "done"


def test_a_failing_part_stops_the_others_and_leaves_no_half(tmp_path):
    made, started = [], threading.Event()

    def make(path: Path) -> None:
        path.write_text("half")
        if path.name.startswith(".3"):
            raise DatasetError("frame 3 is damaged")
        made.append(path.name)
        started.set()

    with pytest.raises(DatasetError, match="frame 3"), work_folder(tmp_path / "out", "a", False) as work:
        work.produce([Part(work.parts / str(k), make) for k in range(200)], 2, lambda done, total: None)
    assert len(made) < 200
    assert not (tmp_path / "out.unfinished" / "parts" / "3").exists()


def test_an_unknown_format_or_mask_names_the_known_ones(rich_dataset, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'lerobot_v2'"):
        export_dataset(rich_dataset, tmp_path / "out", "lerobot_v2.1")
    set_mask(rich_dataset, "train", [0])
    with pytest.raises(ConfigError, match="Known: train"):
        export_dataset(rich_dataset, tmp_path / "out", "lerobot_v3", ExportOptions(mask="trian"))


def test_a_dataset_without_episodes_is_refused(make_dataset, tmp_path):
    with pytest.raises(DatasetError, match="no episode to export: 0 recorded"):
        export_dataset(make_dataset(), tmp_path / "out", "lerobot_v3")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": 0}, "--workers"),
        ({"video": "vp9"}, "--video is one of"),
        ({"crf": 64}, "--crf is 0 to 63"),
        ({"video": "h264", "crf": 52}, "--crf is 0 to 51"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        ExportOptions(**wrong)


@pytest.mark.parametrize("name", FORMATS)
def test_two_features_of_one_name_are_refused(rich_dataset_to_read, tmp_path, name):
    options = ExportOptions(rename={"observation.state": "same", "observation.force": "same"})
    with pytest.raises(ConfigError, match="would both be called 'same'; use --rename"):
        export_dataset(rich_dataset_to_read, tmp_path / "out", name, options)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lerobot_v3", "index"),
        ("robomimic_hdf5", "states"),
        ("diffusion_policy_zarr", "timestamp"),
        ("diffusion_policy_zarr", ".."),
    ],
)
def test_names_with_a_meaning_of_their_own_are_refused(rich_dataset_to_read, tmp_path, name, key):
    with pytest.raises(ConfigError, match=f"cannot be called '{key}' there"):
        export_dataset(rich_dataset_to_read, tmp_path / "out", name, ExportOptions(rename={"observation.state": key}))


def test_every_exporter_is_registered_with_a_function():
    assert all(callable(EXPORTERS.resolve(name)) for name in EXPORTERS)
    assert registry.EXPORTERS is EXPORTERS


def test_a_damaged_frame_is_named(rich_dataset, tmp_path):
    (rich_dataset / "data" / "observation.images.front" / "2.0.0.0").unlink()
    for name in FORMATS:
        with pytest.raises((DatasetError, FeatureError), match=r"observation\.images\.front.2\.0\.0\.0"):
            export_dataset(rich_dataset, tmp_path / name, name)


def test_a_dataset_on_an_object_store_is_exported_like_a_local_one(rich_dataset_to_read, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    remote = fsspec.filesystem("memory")
    remote.put(str(rich_dataset_to_read), "/bucket/rich.zarr", recursive=True)
    try:
        far = export_dataset("memory://bucket/rich.zarr", tmp_path / "far.zarr", "diffusion_policy_zarr")
    finally:
        remote.rm("/bucket", recursive=True)
    near = export_dataset(rich_dataset_to_read, tmp_path / "near.zarr", "diffusion_policy_zarr")
    assert_same(far.output, near.output)


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(tmp_path):
    def make(path: Path) -> None:
        if path.name.startswith(".2"):
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text("whole")

    stopped = pytest.raises(DatasetError, match=r"No space left on device.*go on with --resume")
    with stopped as caught, work_folder(tmp_path / "out", "a", False) as work:
        work.produce([Part(work.parts / str(k), make) for k in range(3)], 1, lambda done, total: None)
    assert "\n" not in str(caught.value)
    assert [part.name for part in sorted((tmp_path / "out.unfinished" / "parts").glob("[0-9]*"))] == ["0", "1"]


def test_hdf5_is_not_begun_where_it_does_not_fit(rich_dataset_to_read, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1000, 1000, 0))
    with pytest.raises(DatasetError, match="No space left on device"):
        export_dataset(rich_dataset_to_read, tmp_path / "out.hdf5", "robomimic_hdf5")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", FORMATS)
def test_of_a_recording_at_native_rates_the_aligned_steps_are_exported(world, tmp_path, name):
    described = features(
        [
            Feature("observation.state", (2,), rate_hz=50),
            Feature("action", (1,), kind="action", rate_hz=10),
            Feature("observation.images.front", (24, 32, 3), "uint8", "image", rate_hz=10),
            Feature("button", (1,), "int64", "event"),
        ]
    )
    clock, path = VirtualClock(), tmp_path / "streams.zarr"
    with DatasetWriter.create(path, described, 10, recorded="streams", durable=False) as writer:
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode()
        start = clock.now()
        for k in range(50):
            clock.sleep_until(start + k / 50)
            recorder.add("observation.state", np.full(2, k, np.float32), start + k / 50)
            if k % 5 == 0:
                recorder.add("action", np.full(1, k, np.float32), start + k / 50)
                recorder.add("observation.images.front", world.image(k), start + k / 50)
        recorder.add("button", np.ones(1, np.int64), start + 0.5)
        recorder.commit({"task": "press"})
    report = export_dataset(path, tmp_path / "theirs", name)
    assert report.num_steps == Dataset(path).num_steps > 5
    assert any("streams at their own rates are not carried over, only the steps at 10 Hz" in n for n in report.notes)
