"""What spoils training is found in data with that one defect, and not in good data."""

import numpy as np
import pytest

from robolearn.core.feature import Feature, features
from robolearn.datasets.checks import validate
from robolearn.datasets.checks.texts import decode_texts, encode_texts
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.write.writer import DatasetWriter

STATE, ACTION, CAMERA = "observation.state", "action", "observation.images.front"
FPS = 20


def signals(camera=False, **rates):
    found = [
        Feature(STATE, (2,), names=("x", "y"), rate_hz=rates.get("state")),
        Feature(ACTION, (2,), kind="action", names=("x", "y"), rate_hz=rates.get("action")),
    ]
    return features(found + [Feature(CAMERA, (48, 64, 3), "uint8", "image")] * camera)


def motion(seed, steps, lag=2):
    """A smooth random action and a state that follows it by `lag` steps, with sensor noise."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(np.cumsum(rng.normal(size=(steps + 50, 2)), axis=0) * 0.01, axis=0)
    action = path[25 : 25 + steps]
    state = path[25 - lag : 25 - lag + steps] + rng.normal(size=(steps, 2)) * 1e-4
    return {STATE: state.astype(np.float32), ACTION: action.astype(np.float32)}


def times(steps):
    """20 Hz with jitter of a tenth of a millisecond."""
    return np.arange(steps) / FPS + np.random.default_rng(steps).uniform(0, 1e-4, steps)


def write(path, episodes, camera=False, stamps=None):
    """`episodes`: dicts of columns; a camera is given as a list of pictures."""
    with DatasetWriter.create(path, signals(camera), fps=FPS, durable=False) as writer:
        for number, columns in enumerate(episodes):
            pictures = columns.pop(CAMERA, None)
            frames = {CAMERA: [JpegCodec(95).encode(picture) for picture in pictures]} if camera else {}
            stamp = stamps[number] if stamps else times(len(columns[STATE]))
            writer.write_episode(EpisodeData(stamp, columns, frames, {"task": "move", "success": True}))
    return path


def tamper(path, key, row, value):
    """Change a number as a broken program would have recorded it: with the right checksums."""
    import json
    import zlib

    metadata = Metadata.read(path)
    info = metadata.arrays[key]
    chunk = path / key / info.chunk_name(row // info.chunk_rows)
    content = np.frombuffer(bytearray(chunk.read_bytes()), info.dtype).reshape(-1, *info.row_shape)
    content[row % info.chunk_rows] = value
    chunk.write_bytes(content.tobytes())
    records = path / "meta/episodes/0"
    texts = [json.loads(text) for text in decode_texts(records.read_bytes()) if text]
    for record in texts:
        record.pop("crc32")
        if layout.axis(key) == "steps":
            rows = content[record["start_step"] : record["start_step"] + record["num_steps"]]
            record["checksums"][key] = zlib.crc32(np.ascontiguousarray(rows).data)
    sealed = [layout.sealed_json(record) for record in texts]
    records.write_bytes(encode_texts(sealed, metadata.arrays["meta/episodes"].chunk_rows))
    attributes = {**metadata.attributes, "records_crc32": zlib.crc32(b"".join(sealed))}
    (path / ".zmetadata").write_bytes(Metadata(attributes, metadata.arrays).to_bytes())


def of(path, check, **options):
    return [finding for finding in validate(path, **options) if finding.check == check]


def scene(shift=0, swapped=False):
    """A wooden table (warm) under a grey wall, with an object that moves."""
    picture = np.full((48, 64, 3), (150, 150, 148), np.uint8)
    picture[20:] = (170, 120, 60)
    picture[25:35, 5 + shift : 15 + shift] = (40, 130, 60)
    noise = np.random.default_rng(shift).integers(0, 8, picture.shape, np.uint8)
    picture = picture + noise
    return picture[:, :, ::-1].copy() if swapped else picture


def test_good_data_has_no_warning(tmp_path):
    episodes = [{**motion(k, 80), CAMERA: [scene(step // 2) for step in range(80)]} for k in range(4)]
    found = validate(write(tmp_path / "d.zarr", episodes, camera=True), "all")
    assert [f.line() for f in found if f.severity != "info"] == []


def test_the_histogram_of_gaps_and_the_jitter_are_told(tmp_path):
    stamps = np.arange(40) * 0.05
    stamps[20:] += 0.05  # one gap of two periods
    (found,) = of(write(tmp_path / "d.zarr", [motion(0, 40)], stamps=[stamps]), "time")
    assert found.severity == "info"
    assert "grid at 20 Hz (nominal 20)" in found.message and "longest gap 0.1 s" in found.message
    assert "0.9-1.1: 97.4 %, 1.5-2.5: 2.56 %" in found.message  # 38 and 1 of 39


def test_a_hole_in_time_is_a_warning_at_its_step(tmp_path):
    stamps = times(60)
    stamps[31:] += 0.4
    found = [f for f in of(write(tmp_path / "d.zarr", [motion(0, 60)], stamps=[stamps]), "time") if f.step is not None]
    assert [(f.severity, f.episode, f.step) for f in found] == [("warning", 0, 30)]
    assert "a hole of 0.450 s after step 30, at 1.500 s; expected 0.05 s" in found[0].message


def test_a_pause_of_the_operator_is_no_hole(tmp_path):
    stamps = times(60)
    stamps[31:] += 4.0
    data = EpisodeData(stamps, motion(0, 60), {}, {"pauses": [[1.52, 4.0]]})
    with DatasetWriter.create(tmp_path / "d.zarr", signals(), fps=FPS, durable=False) as writer:
        writer.write_episode(data)
    (found,) = of(tmp_path / "d.zarr", "time")
    assert found.severity == "info" and "longest gap 0.05" in found.message


def test_another_rate_than_the_nominal_is_a_warning(tmp_path):
    path = write(tmp_path / "d.zarr", [motion(0, 60)], stamps=[np.arange(60) / 15])
    (found,) = [f for f in of(path, "time") if f.severity == "warning"]
    assert found.message == "samples come at 15 Hz, expected 20 Hz"


def test_time_that_does_not_rise_is_an_error(tmp_path):
    path = write(tmp_path / "d.zarr", [motion(0, 30), motion(1, 30)])
    tamper(path, "data/timestamp", 40, 0.1)
    (found,) = [f for f in of(path, "time") if f.severity == "error"]
    assert (found.episode, found.step, found.file) == (1, 10, "data/timestamp")
    assert not of(path, "checksum")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_errors(tmp_path, value):
    path = write(tmp_path / "d.zarr", [motion(0, 30), motion(1, 30)])
    tamper(path, "data/action", 35, [1.0, value])
    (found,) = of(path, "finite")
    assert (found.severity, found.episode, found.step, found.feature) == ("error", 1, 5, ACTION)
    assert found.message == f"{value} at y"


def test_constant_columns_are_told_and_warned_of_in_actions(tmp_path):
    columns = motion(0, 60)
    columns[ACTION][:, 1], columns[STATE][:, 0] = 0.25, 3
    found = {f.feature: f for f in of(write(tmp_path / "d.zarr", [columns]), "constant")}
    assert (found[ACTION].severity, found[STATE].severity) == ("warning", "info")
    assert found[ACTION].message == "constant over all 60 steps: y"


def test_a_constant_feature_of_one_number_is_called_by_its_name_or_a_value(tmp_path):
    declared = features([Feature("observation.grip", (1,), names=("gripper",)), Feature("next.reward", (1,))])
    columns = {name: np.ones((60, 1), np.float32) for name in declared}
    with DatasetWriter.create(tmp_path / "d.zarr", declared, fps=FPS, durable=False) as writer:
        writer.write_episode(EpisodeData(times(60), columns, {}, {}))
    found = {f.feature: f.message for f in of(tmp_path / "d.zarr", "constant")}
    assert found == {
        "observation.grip": "constant over all 60 steps: gripper",
        "next.reward": "constant over all 60 steps: value",
    }


def test_a_sensor_that_stood_still_in_one_episode_is_a_warning(tmp_path):
    episodes = [motion(k, 60) for k in range(12)]
    episodes[7][STATE][:] = episodes[7][STATE][0]
    (found,) = of(write(tmp_path / "d.zarr", episodes), "constant")
    assert (found.severity, found.episode, found.feature) == ("warning", 7, STATE)


def test_a_clipped_action_is_saturated_and_a_switch_is_not(tmp_path):
    columns = motion(0, 200)
    columns[ACTION][:, 0] = np.clip(columns[ACTION][:, 0], *np.quantile(columns[ACTION][:, 0], [0.0, 0.6]))
    columns[ACTION][:, 1] = np.arange(200) % 40 < 20  # a gripper: two values
    (found,) = of(write(tmp_path / "d.zarr", [columns]), "saturated")
    assert found.feature == ACTION and found.message.startswith("x is at its highest value")
    assert "in 40 % of the steps" in found.message


def test_rounding_of_an_action_that_is_never_commanded_is_not_saturated(tmp_path):
    columns = motion(0, 200)
    noise = np.random.default_rng(0).uniform(-1, 1, 200) * 4e-5
    columns[ACTION][:, 1] = 3.1 + np.clip(noise, -1, 0)
    assert len(np.unique(columns[ACTION][:, 1])) > 16
    assert of(write(tmp_path / "d.zarr", [columns]), "saturated") == []


@pytest.mark.parametrize("lag", [1, 2, 6])
def test_the_lag_of_the_state_is_told_in_steps_and_time(tmp_path, lag):
    (found,) = of(write(tmp_path / "d.zarr", [motion(k, 200, lag) for k in range(3)]), "lag")
    assert found.severity == "info"
    steps = "1 step" if lag == 1 else f"{lag} steps"
    assert f"{STATE} (all elements) follows it by {steps} ({50 * lag} ms)" in found.message
    assert 0.3 < float(found.message.rpartition("correlation ")[2]) <= 1


@pytest.mark.parametrize(
    ("lag", "words"), [(-3, "moves 3 steps (150 ms) before it"), (13, "follows it only after 0.65 s")]
)
def test_an_implausible_lag_is_a_warning(tmp_path, lag, words):
    found = of(write(tmp_path / "d.zarr", [motion(k, 200, lag) for k in range(3)]), "lag")
    assert [f.severity for f in found] == ["warning", "info"]
    assert words in found[0].message


def test_an_action_that_is_the_observation_itself_is_a_warning(tmp_path):
    columns = motion(0, 200)
    columns[ACTION] = columns[STATE].copy()
    found = of(write(tmp_path / "d.zarr", [columns]), "lag")
    assert "equals observation.state of the same step" in found[0].message


def test_an_action_unlike_any_observation_gets_no_lag(tmp_path):
    columns = motion(0, 200)
    columns[ACTION] = np.random.default_rng(9).normal(size=(200, 2)).astype(np.float32)
    assert of(write(tmp_path / "d.zarr", [columns]), "lag") == []


def test_a_very_short_episode_is_a_warning(tmp_path):
    path = write(tmp_path / "d.zarr", [motion(0, 80), motion(1, 90), motion(2, 5), motion(3, 85)])
    (found,) = of(path, "length")
    assert (found.severity, found.episode) == ("warning", 2)


def test_labels_that_only_some_episodes_have_are_told(tmp_path):
    with DatasetWriter.create(tmp_path / "d.zarr", signals(), fps=FPS, durable=False) as writer:
        for number, facts in enumerate(({"task": "a"}, {"task": "a", "success": True}, {"success": "yes"})):
            writer.write_episode(EpisodeData(times(30), motion(number, 30), record=facts))
    found = validate(tmp_path / "d.zarr")
    assert {f.message for f in found if f.check == "labels"} == {
        "1 of 3 episodes have no 'task'", "1 of 3 episodes have no 'success'"
    }  # fmt: skip
    assert [f.episode for f in found if f.check == "records"] == [2]


def test_black_and_one_coloured_frames_are_found_even_between_the_sampled_ones(tmp_path):
    pictures = [scene(step // 2) for step in range(80)]
    pictures[37], pictures[41] = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 90, np.uint8)
    found = of(write(tmp_path / "d.zarr", [{**motion(0, 80), CAMERA: pictures}], camera=True), "black")
    assert [(f.severity, f.step) for f in found] == [("warning", 37), ("warning", 41)]
    assert "are black" in found[0].message and "are of one colour" in found[1].message


def test_a_picture_that_stands_still_while_the_robot_moves_is_found(tmp_path):
    pictures = [scene(min(step, 30) // 2) for step in range(80)]
    path = write(tmp_path / "d.zarr", [{**motion(0, 80), CAMERA: pictures}], camera=True)
    (found,) = [f for f in of(path, "frozen") if f.severity == "warning"]
    assert (found.step, found.feature) == (30, CAMERA)
    assert f"while {STATE} moves" in found.message


def test_a_picture_that_stands_still_with_the_robot_is_fine(tmp_path):
    columns = motion(0, 80)
    columns[STATE][30:] = columns[STATE][30]
    pictures = [scene(min(step, 30) // 2) for step in range(80)]
    path = write(tmp_path / "d.zarr", [{**columns, CAMERA: pictures}], camera=True)
    assert [f for f in of(path, "frozen") if f.severity == "warning"] == []


def test_an_undecodable_frame_is_an_error_when_all_are_decoded(tmp_path):
    path = write(tmp_path / "d.zarr", [{**motion(0, 80), CAMERA: [scene(k) for k in range(40)] * 2}], camera=True)
    (path / f"data/{CAMERA}/33.0.0.0").write_bytes(
        b"\xff\xd8 not a picture, but of the usual size" + bytes(3000) + b"\xff\xd9"
    )
    (found,) = of(path, "decode", images="all")
    assert (found.severity, found.step, found.file) == ("error", 33, f"data/{CAMERA}/33.0.0.0")


def test_exchanged_channels_in_one_episode_are_suspected(tmp_path):
    episodes = [{**motion(k, 20), CAMERA: [scene(step, k == 3) for step in range(20)]} for k in range(5)]
    (found,) = of(write(tmp_path / "d.zarr", episodes, camera=True), "channels")
    assert (found.severity, found.episode, found.feature) == ("warning", 3, CAMERA)


def test_two_cameras_of_a_scene_with_different_channel_order_are_suspected(tmp_path):
    shape = {"shape": (48, 64, 3), "dtype": "uint8", "kind": "image"}
    cameras = features([Feature("observation.images.a", **shape), Feature("observation.images.b", **shape)])
    codec = JpegCodec(95)
    with DatasetWriter.create(tmp_path / "d.zarr", cameras, fps=FPS, durable=False) as writer:
        frames = {name: [codec.encode(scene(k, name.endswith("b"))) for k in range(20)] for name in cameras}
        writer.write_episode(EpisodeData(times(20), {}, frames))
    (found,) = of(tmp_path / "d.zarr", "channels")
    assert found.feature == "observation.images.b" and "observation.images.a" in found.message


def stream_rows(rate_hz, values, grid, **changes):
    count = len(values)
    stamps = np.arange(count) / rate_hz
    rows = {
        "timestamp": stamps,
        "device_time": stamps + 1000.0,
        "sequence": np.arange(count),
        "values": values.astype(np.float32),
        "at_step": np.searchsorted(stamps, grid, side="right") - 1,
    }
    return StreamRows(**{**rows, **changes})


def write_streams(path, **changes):
    """Two seconds: state at 100 Hz, action at 20 Hz; `changes` to the rows of the state."""
    grid = np.arange(40) / FPS + 1e-3
    state, action = motion(0, 200, 0)[STATE], motion(1, 40, 0)[ACTION]
    with DatasetWriter.create(
        path, signals(state=100, action=20), fps=FPS, recorded="streams", durable=False
    ) as writer:
        streams = {STATE: stream_rows(100, state, grid, **changes), ACTION: stream_rows(20, action, grid)}
        writer.write_episode(EpisodeData(grid, {}, streams=streams))
    return path


def test_good_streams_have_a_histogram_each_and_no_warning(tmp_path):
    found = validate(write_streams(tmp_path / "d.zarr"))
    assert [f.line() for f in found if f.severity != "info"] == []
    rates = {f.feature: f.message.partition(",")[0] for f in found if f.check == "time"}
    assert rates[STATE] == "stream at 100 Hz (nominal 100)" and rates[ACTION] == "stream at 20 Hz (nominal 20)"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sequence": np.r_[np.arange(100), np.arange(100)]}, "number 0 comes after 99"),
        ({"device_time": np.arange(200) * 10.0}, "counts 1000 s in each second"),
        ({"device_time": np.r_[np.arange(100), np.arange(100)] / 100}, "clock goes from 0.990000 s to 0.000000 s"),
    ],
)
def test_devices_that_start_again_or_count_otherwise_are_warned_of(tmp_path, changes, words):
    (found,) = of(write_streams(tmp_path / "d.zarr", **changes), "stream")
    assert (found.severity, found.feature) == ("warning", STATE)
    assert words in found.message


def test_lost_samples_are_told_by_the_counts_of_the_record(tmp_path):
    counts = {"expected": 200, "received": 190, "dropped": 10, "late": 0, "rate_hz": 100}
    found = of(write_streams(tmp_path / "d.zarr", counts=counts), "stream")
    assert [(f.severity, f.message) for f in found] == [("warning", "10 samples of 200 expected were lost")]


def test_a_grid_that_shows_another_sample_is_an_error(tmp_path):
    path = write_streams(tmp_path / "d.zarr")
    tamper(path, f"streams/{STATE}/at_step", 10, 3)
    found = of(path, "stream")
    assert [(f.severity, f.step) for f in found] == [("error", 10), ("error", 10)]
    assert "shows row 3, the newest at its time is 50" in found[0].message


@pytest.mark.slow
def test_human_data_is_not_buried_in_warnings(tmp_path, shared_data):
    """206 episodes of mouse teleoperation: the agent follows the mouse by 2 steps of 0.1 s, and nothing is wrong."""
    from robolearn.datasets.convert.engine import convert_dataset
    from robolearn.datasets.convert.protocol import ConvertOptions

    convert_dataset(shared_data / "pusht.zarr", tmp_path / "p.zarr", ConvertOptions(max_episodes=20))
    found = validate(tmp_path / "p.zarr")
    assert [f.line() for f in found if f.severity != "info"] == []
    assert any("follows it by 2 steps (200 ms)" in f.message for f in found)
