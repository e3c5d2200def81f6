"""merge, split and drop: what they carry over."""

import json
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.drop import drop
from robolearn.datasets.tools.merge import merge
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.tools.split import by_mask, by_share, by_task, parse_shares, split
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parent))
from counting_datasets import checksums, counting


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.floats(0.2, 0.8), st.integers(0, 9))
@pytest.mark.slow
def test_merging_the_parts_of_a_split_gives_back_every_episode(tmp_path, lengths, share, seed):
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    parent = Dataset(counting(folder / "a.zarr", lengths))
    parts = by_share(parent, {"one": share, "two": 1 - share}, seed)
    assert sorted(parts["one"] + parts["two"]) == list(range(len(lengths)))
    if not all(parts.values()):
        return
    made = split(parent, folder / "parts", parts, {})
    merge([Dataset(part.output) for part in made], folder / "merged.zarr")
    merged = Dataset(folder / "merged.zarr")
    order = [record["source_episode"] for record in merged.episodes]
    assert order == parts["one"] + parts["two"]
    assert [checksums(parent)[i] for i in order] == checksums(merged)
    assert {record["source_dataset"] for record in merged.episodes} == {str((folder / "a.zarr").resolve())}


def test_everything_of_an_episode_is_carried_over(rich_dataset, tmp_path):
    edit_episodes(rich_dataset, [2], {"success": False, "notes": "slipped"})
    set_mask(rich_dataset, "good", [0, 2])
    parent = Dataset(rich_dataset)
    drop(parent, tmp_path / "d.zarr", selection=Selection("1"))
    made = Dataset(tmp_path / "d.zarr")
    for new, old in enumerate((0, 2)):
        ours, theirs = made.read_episode(new), parent.read_episode(old)
        made.verify_episode(new)
        assert np.array_equal(ours.timestamps, theirs.timestamps)
        assert all(np.array_equal(ours.values[name], theirs.values[name]) for name in theirs.values)
        assert all(list(ours.frames[name]) == list(theirs.frames[name]) for name in theirs.frames)
        assert np.array_equal(ours.sim_states, theirs.sim_states)
        assert ours.sim_model == theirs.sim_model
        assert ours.record.items() >= theirs.record.items()
    assert made.sim_env == parent.sim_env
    assert made.episodes[1]["notes"] == "slipped"
    assert made.recorded_episodes[1]["success"] is False
    assert made.mask("good").tolist() == [True, True]
    assert made.edits[0].mask == "good"
    assert [made.codec(n).get_config() for n in made.features if "images" in n] == [
        parent.codec(n).get_config() for n in parent.features if "images" in n
    ]
    origin = made.attributes["metadata"]["provenance"]
    assert (origin["tool"], origin["options"]["episodes_left_out"]) == ("drop", [1])
    assert origin["parents"][0]["checksum"] == parent.checksum()
    assert made.attributes["metadata"]["robot"] == "arm"


def test_masks_are_renumbered_when_datasets_are_merged(tmp_path):
    one, two = counting(tmp_path / "a.zarr", [2, 2]), counting(tmp_path / "b.zarr", [3, 3, 3])
    set_mask(one, "train", [1])
    set_mask(two, "train", [0, 2])
    set_mask(two, "quarantine", [1])
    report = merge([Dataset(one), Dataset(two)], tmp_path / "c.zarr")
    made = Dataset(tmp_path / "c.zarr")
    assert report.num_episodes == made.num_episodes == 4
    assert made.mask("train").tolist() == [False, True, True, True]
    assert "quarantine" not in made.masks
    assert any("1 quarantined episode left out" in note for note in report.notes)
    assert [record["source_episode"] for record in made.episodes] == [0, 1, 0, 2]


@pytest.mark.parametrize(
    ("fields", "rate", "message"),
    [
        ({"unit": "px"}, 10, "Feature 'action' has unit 'px' in .*b.zarr, 'm' in .*a.zarr; --common"),
        ({"names": ("y",)}, 10, "has names"),
        ({"dtype": "float64"}, 10, "has dtype 'float64'"),
        ({"name": "action.x"}, 10, "a.zarr lacks feature 'action.x'|b.zarr lacks feature 'action'"),
        ({}, 20, "b.zarr has 20 Hz, .*a.zarr has 10 Hz; .*robolearn dataset resample"),
    ],
)
def test_the_first_difference_is_named(tmp_path, fields, rate, message):
    one = counting(tmp_path / "a.zarr", [2])
    action = replace(Feature("action", (1,), names=("x",), unit="m", kind="action"), **fields)
    with DatasetWriter.create(tmp_path / "b.zarr", features([action]), rate) as writer:
        writer.write_episode(EpisodeData(np.zeros(1), {action.name: np.zeros((1, 1), action.dtype)}))
    with pytest.raises((DatasetError, FeatureError), match=message):
        merge([Dataset(one), Dataset(tmp_path / "b.zarr")], tmp_path / "c.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_common_keeps_what_all_have_alike(make_dataset, tmp_path):
    one, two = make_dataset(3, name="a.zarr", sim=True), make_dataset(2, name="b.zarr")
    with pytest.raises(DatasetError, match="holds no simulator states, .* holds simulator states of 2 numbers"):
        merge([Dataset(one), Dataset(two)], tmp_path / "c.zarr")
    drop(Dataset(two), tmp_path / "blind.zarr", features=["observation.images.front"])
    report = merge([Dataset(one), Dataset(tmp_path / "blind.zarr")], tmp_path / "c.zarr", common=True)
    made = Dataset(tmp_path / "c.zarr")
    assert list(made.features) == ["observation.state", "action"]
    assert made.sim_states(0) is None
    assert any("observation.images.front" in note and note.endswith("left out") for note in report.notes)
    assert any("simulator states left out" in note for note in report.notes)


def test_another_scene_version_is_another_simulator(make_dataset, tmp_path):
    paths = [make_dataset(2, name=name, sim=True) for name in ("a.zarr", "b.zarr")]
    for version, path in enumerate(paths):
        shutil.rmtree(path)
        with DatasetWriter.create(path, features([Feature("action", (1,))]), 10) as writer:
            writer.set_sim_model("<mujoco/>", {"name": "robosuite/Lift", "scene_version": version})
            values = {"action": np.zeros((1, 1), np.float32)}
            writer.write_episode(EpisodeData(np.zeros(1), values, sim_states=np.zeros((1, 2)), sim_model="<mujoco/>"))
    with pytest.raises(DatasetError, match="scene version 1, .* scene version 0; --common"):
        merge([Dataset(path) for path in paths], tmp_path / "c.zarr")


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [({"panda": "robosuite-1.5.2"}, {"panda": "menagerie-1"}, False), (None, {"panda": "menagerie-1"}, True)],
)
def test_another_robot_model_is_another_simulator_where_both_are_named(make_dataset, tmp_path, first, second, fits):
    paths = [make_dataset(2, name=name, sim=True) for name in ("a.zarr", "b.zarr")]
    for robots, path in zip((first, second), paths, strict=True):
        shutil.rmtree(path)
        with DatasetWriter.create(path, features([Feature("action", (1,))]), 10) as writer:
            named = {"robots": robots} if robots else {}
            writer.set_sim_model("<mujoco/>", {"name": "put_on_plate", "scene_version": "1", **named})
            values = {"action": np.zeros((1, 1), np.float32)}
            writer.write_episode(EpisodeData(np.zeros(1), values, sim_states=np.zeros((1, 2)), sim_model="<mujoco/>"))
    if fits:
        merge([Dataset(path) for path in paths], tmp_path / "c.zarr")
        assert Dataset(tmp_path / "c.zarr").num_episodes == 2
    else:
        with pytest.raises(DatasetError, match=r"\{'panda': 'menagerie-1'\}.*\{'panda': 'robosuite-1.5.2'\}.*--common"):
            merge([Dataset(path) for path in paths], tmp_path / "c.zarr")


def test_frames_of_another_codec_are_encoded_anew_and_a_note_says_so(world, tmp_path):
    for name, codec in (("a.zarr", "png"), ("b.zarr", "jpeg"), ("c.zarr", "jpeg")):
        quality = 95 if name != "c.zarr" else 50
        path = tmp_path / name
        with DatasetWriter.create(path, world.features, 10, image_codec=codec, jpeg_quality=quality) as writer:
            world.record(writer, 3)
    a, b, c = (Dataset(tmp_path / name) for name in ("a.zarr", "b.zarr", "c.zarr"))
    report = merge([a, b], tmp_path / "ab.zarr")
    made = Dataset(tmp_path / "ab.zarr")
    camera = "observation.images.front"
    assert [made.encoded(camera, k) for k in range(3)] == [a.encoded(camera, k) for k in range(3)]
    assert all(np.array_equal(made.image(camera, 3 + k), b.image(camera, k)) for k in range(3))
    assert any("imagecodecs_jpeg to imagecodecs_png" in note for note in report.notes)
    report = merge([b, c], tmp_path / "bc.zarr")
    made = Dataset(tmp_path / "bc.zarr")
    assert [made.encoded(camera, 3 + k) for k in range(3)] == [c.encoded(camera, k) for k in range(3)]
    assert report.notes == ()


def test_metadata_that_differs_stays_with_its_parent(tmp_path):
    paths = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    for robot, path in zip(("panda", "ur5"), paths, strict=True):
        with DatasetWriter.create(path, features([Feature("action", (1,))]), 10, {"robot": robot, "lab": 1}) as writer:
            writer.write_episode(EpisodeData(np.zeros(1), {"action": np.zeros((1, 1), np.float32)}))
    report = merge([Dataset(path) for path in paths], tmp_path / "c.zarr")
    metadata = Dataset(tmp_path / "c.zarr").attributes["metadata"]
    assert metadata["lab"] == 1
    assert "robot" not in metadata
    assert [parent["metadata"]["robot"] for parent in metadata["provenance"]["parents"]] == ["panda", "ur5"]
    assert any("'robot' differs" in note for note in report.notes)


def test_the_origin_of_a_converted_episode_survives_two_tools(tmp_path):
    path = tmp_path / "a.zarr"
    origin = {"provenance": {"source": "/data/pusht.zarr", "format": "x"}}
    with DatasetWriter.create(path, features([Feature("action", (1,))]), 10, origin) as writer:
        for number in (17, 18):
            values = {"action": np.zeros((1, 1), np.float32)}
            writer.write_episode(EpisodeData(np.zeros(1), values, record={"source_episode": number}))
    drop(Dataset(path), tmp_path / "b.zarr", selection=Selection("0"))
    report = merge([Dataset(path), Dataset(tmp_path / "b.zarr")], tmp_path / "c.zarr")
    assert any("1 of the 3 episodes are in more than one" in note for note in report.notes)
    found = [(r["source_dataset"], r["source_episode"]) for r in Dataset(tmp_path / "c.zarr").episodes]
    assert found == [("/data/pusht.zarr", number) for number in (17, 18, 18)]


def test_a_split_keeps_shares_of_task_and_success(tmp_path):
    path = tmp_path / "a.zarr"
    with DatasetWriter.create(path, features([Feature("action", (1,))]), 10, durable=False) as writer:
        for index in range(100):
            record = {"task": "ab"[index < 60], "success": index % 4 == 0}
            writer.write_episode(EpisodeData(np.zeros(1), {"action": np.zeros((1, 1), np.float32)}, record=record))
    dataset = Dataset(path)
    parts = by_share(dataset, {"train": 0.8, "val": 0.2}, seed=3)
    assert (len(parts["train"]), len(parts["val"])) == (80, 20)
    for task, success, count in (("b", True, 15), ("b", False, 45), ("a", True, 10), ("a", False, 30)):
        here = [(dataset.episodes[i]["task"], dataset.episodes[i]["success"]) for i in parts["val"]]
        assert abs(here.count((task, success)) - 0.2 * count) <= 1
    assert by_share(dataset, {"train": 0.8, "val": 0.2}, seed=3) == parts
    assert by_share(dataset, {"train": 0.8, "val": 0.2}, seed=4) != parts


def test_split_by_mask_and_by_task(tmp_path):
    path = counting(tmp_path / "a.zarr", [1, 1, 1, 1])
    edit_episodes(path, [1, 2], {"task": "Count, again!"})
    edit_episodes(path, [3], {"task": "count again"})
    set_mask(path, "quarantine", [2])
    set_mask(path, "good", [0, 2])
    dataset = Dataset(path)
    assert by_mask(dataset, "good") == {"good": [0], "rest": [1, 3]}
    assert by_task(dataset) == {"count": [0], "count_again": [1], "count_again_2": [3]}


@pytest.mark.parametrize("text", ["train", "train=x", "train=0", "train=0.9,val=0.2", "a=0.5,a=0.5", "=1", "train=nan"])
def test_shares_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigError, match="--by"):
        parse_shares(text)


def test_drop_leaves_out_features_and_keeps_the_bytes_of_frames(make_dataset, tmp_path):
    parent = Dataset(make_dataset(3, 2, sim=True))
    drop(parent, tmp_path / "d.zarr", selection=Selection("0"), features=["action", "sim"])
    made = Dataset(tmp_path / "d.zarr")
    camera = "observation.images.front"
    assert list(made.features) == ["observation.state", camera]
    assert [made.encoded(camera, k) for k in range(2)] == [parent.encoded(camera, 3 + k) for k in range(2)]
    assert made.sim_states(0) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to leave out"),
        ({"selection": Selection("0-1")}, "all 2 episodes would be left out"),
        ({"selection": Selection(where=("num_steps>9",))}, "nothing to leave out; none of its 2 episodes is meant"),
        ({"features": ["acton"]}, "Did you mean 'action'"),
        ({"features": ["action"]}, "all features would be left out"),
        ({"features": ["sim"]}, "Unknown feature 'sim'"),
    ],
)
def test_a_drop_that_makes_no_sense_is_refused(tmp_path, arguments, message):
    parent = Dataset(counting(tmp_path / "a.zarr", [1, 1]))
    with pytest.raises((ConfigError, FeatureError), match=message):
        drop(parent, tmp_path / "d.zarr", **arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_quarantine_alone_is_something_to_drop(tmp_path):
    path = counting(tmp_path / "a.zarr", [1, 1, 1])
    set_mask(path, "quarantine", [1])
    drop(Dataset(path), tmp_path / "d.zarr")
    assert Dataset(tmp_path / "d.zarr").array("action").ravel().tolist() == [0, 2]


def test_a_damaged_episode_stops_the_tool_and_leaves_nothing(make_dataset, tmp_path):
    path = make_dataset(3, 2)
    file = Dataset(path).image_file("observation.images.front", 4)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"observation.images.front/4"):
        drop(Dataset(path), tmp_path / "d.zarr", features=["action"])
    assert [p.name for p in tmp_path.iterdir()] == ["small.zarr"]


def test_a_merge_that_leaves_no_observation_says_so(tmp_path):
    for name, feature in (("a.zarr", "observation.a"), ("b.zarr", "observation.b")):
        described = features([Feature(feature, (1,)), Feature("action", (1,), kind="action")])
        with DatasetWriter.create(tmp_path / name, described, 10) as writer:
            writer.write_episode(EpisodeData(np.zeros(1), {n: np.zeros((1, 1), np.float32) for n in described}))
    report = merge([Dataset(tmp_path / "a.zarr"), Dataset(tmp_path / "b.zarr")], tmp_path / "m.zarr", common=True)
    assert any(note.startswith("no observation is left, only action") for note in report.notes)


def test_the_report_counts_what_is_there(tmp_path):
    done = []
    path = counting(tmp_path / "a.zarr", [2, 3, 4])
    report = drop(Dataset(path), tmp_path / "d.zarr", selection=Selection("1"), progress=lambda *n: done.append(n))
    assert (report.num_episodes, report.num_steps, report.output) == (2, 6, tmp_path / "d.zarr")
    assert done == [(1, 2), (2, 2)]
    json.dumps(Dataset(report.output).attributes)
    assert (
        zlib.crc32(Dataset(report.output).array("action")[:2].tobytes()) == checksums(Dataset(path))[0]["data/action"]
    )


def test_a_full_disk_is_one_line_and_leaves_nothing(make_dataset, tmp_path):
    parent = Dataset(make_dataset(1, 20))
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(DatasetError, match=r"Making .*d.zarr failed: No space left .*choose another"):
            drop(parent, folder / "d.zarr", selection=Selection("0"))
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)
