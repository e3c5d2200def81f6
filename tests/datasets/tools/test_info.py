"""What `dataset info` counts and prints; its command line is in tests/cli."""

import shutil

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.info import describe, describe_timing, size_on_disk, to_text
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter


def test_a_file_that_vanishes_while_it_is_counted_counts_nothing(tmp_path):
    (tmp_path / "chunk").write_bytes(b"12345")
    (tmp_path / "moved").symlink_to(tmp_path / "not there any more")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "chunk").write_bytes(b"123")
    assert size_on_disk(tmp_path) == 8
    assert size_on_disk(tmp_path / "chunk") == 5


def test_timing_looks_within_episodes_only(make_dataset):
    """Episodes of 3 and 2 steps at 10 Hz: the jump back to zero between them is no gap."""
    timing = describe_timing(Dataset(make_dataset(3, 2)))
    assert timing is not None
    found = [timing[key] for key in ("nominal_s", "median_s", "max_s", "median_jitter_s")]
    assert np.allclose(found, [0.1, 0.1, 0.1, 0.0])


def test_single_steps_have_no_timing(make_dataset):
    assert describe_timing(Dataset(make_dataset(1, 1))) is None


def test_it_reads_no_data(make_dataset):
    path = make_dataset(3, 5)
    expected = {**describe(path), "size_bytes": 0, "bytes_per_step": 0}
    shutil.rmtree(path / "data")
    assert {**describe(path), "size_bytes": 0, "bytes_per_step": 0} == expected
    (action,) = [feature for feature in expected["features"] if feature["name"] == "action"]
    assert (action["min"], action["max"], action["mean"]) == ([0.5, 1.0], [7.5, 1.0], [4.0, 1.0])


def test_one_is_one_and_more_are_several(make_dataset):
    one = to_text(describe(make_dataset(3, name="one.zarr")))
    two = to_text(describe(make_dataset(3, 4, name="two.zarr")))
    assert "(1 episode)" in one
    assert "(2 episodes)" in two
    assert "steps      3 (0.2 s)" in one


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.14, "(4.1 s)"), (119.0, "(119.0 s)"), (120.0, "(2.0 min)"), (9000.0, "(2.5 h)")]
)
def test_durations_are_in_units_that_people_use(make_dataset, seconds, text):
    info = describe(make_dataset(3))
    assert f"steps      3 {text}" in to_text({**info, "duration_s": seconds})


def test_elements_without_a_common_unit_are_listed_by_name(tmp_path):
    described = features(
        [
            Feature("pose", (3,), names=("x", "y", "grip")),
            Feature("joints", (2,), names=("a", "b"), unit="rad"),
            Feature("plain", (2,)),
        ]
    )
    path = tmp_path / "named.zarr"
    with DatasetWriter.create(path, described, 10) as writer:
        values = {
            "pose": np.array([[0, 5, 1], [-2, 6, 0]], np.float32),
            "joints": np.array([[1, 2], [3, 4]], np.float32),
            "plain": np.array([[1, 2], [3, 4]], np.float32),
        }
        writer.write_episode(EpisodeData(np.array([0, 0.1]), values))
    lines = [" ".join(line.split()) for line in to_text(describe(path)).splitlines()]
    start = lines.index("feature shape dtype unit range")
    assert lines[start + 1 :] == [
        "pose 3 float32", "x -2 to 0", "y 5 to 6", "grip 0 to 1",
        "joints 2 float32 rad 1 to 4",
        "plain 2 float32 1 to 4",
    ]  # fmt: skip


def test_masks_edits_and_the_edited_labels_are_told(make_dataset):
    path = make_dataset(3, 5, 2)
    set_mask(path, "quarantine", [1])
    set_mask(path, "train", [0, 2])
    edit_episodes(path, [0], {"task": "stack", "success": True})
    info = describe(path)
    assert info["masks"] == {"quarantine": 1, "train": 2}
    assert info["tasks"] == {"stack": 1, "count": 2}
    assert info["success"] == {"yes": 1, "no": 0, "unknown": 2}
    (action,) = [feature for feature in info["features"] if feature["name"] == "action"]
    assert (action["min"][0], action["max"][0]) == (0.5, 9.5)
    text = to_text(info)
    assert "masks      quarantine (1 episode), train (2 episodes)" in text
    assert "edits      1 change of labels" in text


def test_streams_are_listed_with_rates_and_losses(tmp_path):
    """21 samples at 20 Hz in an episode of 1.0 s on a grid of 10 Hz: 20 gaps a second, not 21 rows."""
    described = features([Feature("force", (1,), "float64", rate_hz=25), Feature("button", (1,), "int64", "event")])
    counts = {"rate_hz": 20, "expected": 25, "received": 21, "dropped": 4, "late": 2, "repeats": 0, "spooled": 3}
    path, times = tmp_path / "streams.zarr", np.arange(21) / 20
    with DatasetWriter.create(path, described, 10, recorded="streams") as writer:
        force = StreamRows(times, times, np.arange(21), times[:, None], at_step=np.arange(0, 21, 2), counts=counts)
        button = StreamRows(times[:2], np.full(2, np.nan), np.arange(2), np.ones((2, 1), np.int64))
        writer.write_episode(EpisodeData(np.arange(11) / 10, {}, streams={"force": force, "button": button}))
    force_told, button_told = describe(path)["streams"]
    assert (force_told["rows"], force_told["dropped"], force_told["late"], force_told["spooled"]) == (21, 4, 2, 3)
    assert force_told["measured_hz"] == pytest.approx(20.0)
    assert (button_told["rows"], button_told["measured_hz"]) == (2, None)
    lines = [" ".join(line.split()) for line in to_text(describe(path)).splitlines()]
    assert lines[-3:] == [
        "stream rate measured rows dropped late spooled",
        "force 25 Hz 20 Hz 21 4 2 3",
        "button events 2 0 0 0",
    ]


def test_what_a_dataset_was_made_of_is_told(make_dataset):
    info = describe(make_dataset(1))
    parents = [{"path": "/data/A.zarr"}, {"path": "B.zarr"}]
    text = to_text({**info, "metadata": {"provenance": {"tool": "merge", "parents": parents}}})
    assert "source     made by merge of A.zarr, B.zarr" in text


def test_a_dataset_by_url_is_described_without_its_size(make_dataset):
    import fsspec

    memory = fsspec.filesystem("memory")
    path = make_dataset(2)
    memory.put(str(path), "/info/small.zarr", recursive=True)
    info = describe("memory://info/small.zarr")
    local = describe(path)
    assert info["size_bytes"] is None
    assert {key: info[key] for key in ("steps", "checksum", "features")} == {
        key: local[key] for key in ("steps", "checksum", "features")
    }
    assert "size" not in to_text(info)
    memory.rm("/info", recursive=True)


def described(tmp_path, *found):
    path = tmp_path / "layouts.zarr"
    with DatasetWriter.create(path, features(found), 10) as writer:
        rows = {feature.name: np.zeros((2, *feature.shape), feature.dtype) for feature in found}
        writer.write_episode(EpisodeData(np.array([0, 0.1]), rows))
    return describe(path)


def test_robots_layouts_and_units_are_told(tmp_path):
    parts = [
        Part(kind, arm=arm, **more)
        for arm in ("left", "right")
        for kind, more in (
            ("pose", {"reference": "current", "rotation": "axis_angle", "scale": (0.05,) * 3 + (0.5,) * 3}),
            ("gripper", {}),
        )
    ]
    layout = ActionLayout(tuple(parts), (("left", "panda"), ("right", "ur5e")))
    joints = Feature("observation.joint_position", (2,), names=("a", "b"), unit="rad")
    info = described(tmp_path, Feature("action", (14,), kind="action", layout=layout), joints, Feature("extra", (3,)))
    assert info["robots"] == {"left": "panda", "right": "ur5e"}
    assert list(info["layouts"]) == ["action", "observation.joint_position"]
    action = info["layouts"]["action"]
    assert ActionLayout.from_dict(action["layout"]) == layout and action["stored"]
    assert action["units"] == [*["0.05 m"] * 3, *["0.5 rad"] * 3, "opening"] * 2
    assert not info["layouts"]["observation.joint_position"]["stored"]
    lines = [" ".join(line.split()) for line in to_text(info).splitlines()]
    assert "robots left: panda, right: ur5e" in lines
    moved = "pose relative to the current one (base axes, axis_angle, scaled), gripper"
    assert f"layouts action: left and right: {moved}" in lines
    assert "observation.joint_position: joints (by its names)" in lines
    assert "right_rz 0.5 rad 0 to 0" in lines and "left_gripper opening 0 to 0" in lines


def test_an_action_that_nothing_explains_is_told_with_what_to_type(tmp_path):
    info = described(tmp_path, Feature("action", (7,), kind="action"))
    assert info["robots"] == {} and info["layouts"]["action"]["layout"] is None
    path = tmp_path / "layouts.zarr"
    assert (
        f"layouts    action: not said; a copy that says it: robolearn dataset features {path} --layout action=LAYOUT "
        "--output COPY"
    ) in to_text(info)
