import hashlib
import json
import os
import zlib

import cv2
import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format import layout
from robolearn.datasets.format.codecs import JpegCodec, PngCodec
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.format.image_header import image_header
from robolearn.datasets.format.statistics import episode_statistics
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "observation.images.front"


def episode(world, steps=6, first=0, **changes):
    """An `EpisodeData` of the small world; `changes` replace whole fields."""
    rows = [world.values(first + k) for k in range(steps)]
    fields = {
        "timestamps": np.arange(steps) / 10 + 0.001 * np.arange(steps) ** 2,
        "values": {name: np.stack([row[name] for row in rows]) for name in ("observation.state", "action")},
        "frames": {CAMERA: [JpegCodec().encode(row[CAMERA]) for row in rows]},
        "record": {"task": "count"},
    }
    return EpisodeData(**{**fields, **changes})


def test_an_episode_is_stored_to_the_bit(tmp_path, world):
    path = tmp_path / "d.zarr"
    data = episode(world, record={"task": "x", "note": {"a": [1, None]}})
    # an encoder of another make: the bytes differ from what our codec would write
    data.frames[CAMERA][2] = bytes(cv2.imencode(".jpg", world.image(2), [cv2.IMWRITE_JPEG_QUALITY, 33])[1])
    with DatasetWriter.create(path, world.features, fps=10) as writer:
        assert writer.write_episode(data) == 0
        assert writer.write_episode(episode(world, 3, first=6)) == 1
    dataset = Dataset(path)
    back = dataset.read_episode(0)
    assert back.timestamps.tobytes() == data.timestamps.tobytes()
    for name, rows in data.values.items():
        assert back.values[name].tobytes() == rows.tobytes()
    assert list(back.frames[CAMERA]) == data.frames[CAMERA]
    assert {"task": "x", "note": {"a": [1, None]}}.items() <= back.record.items()
    for k in range(2):
        dataset.verify_episode(k)


def test_writing_gives_what_recording_gives(tmp_path, world):
    with DatasetWriter.create(tmp_path / "a.zarr", world.features, fps=10) as writer:
        world.record(writer, 5)
    with DatasetWriter.create(tmp_path / "b.zarr", world.features, fps=10) as writer:
        writer.write_episode(Dataset(tmp_path / "a.zarr").read_episode(0))
    assert Dataset(tmp_path / "a.zarr").checksum() == Dataset(tmp_path / "b.zarr").checksum()


def test_statistics_of_every_episode_are_kept(tmp_path, world):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, world.features, fps=10) as writer:
        world.record(writer, 5)
        writer.write_episode(episode(world, 7, first=5))
    info = layout.Metadata.read(path).arrays[layout.statistics_key("action")]
    assert info.shape == (2, 9, 2)
    chunk = np.frombuffer((path / layout.statistics_key("action") / "0.0.0").read_bytes(), "<f8")
    rows = chunk.reshape(-1, 9, 2)[:2]
    action = Dataset(path).array("action")
    assert np.allclose(rows, [episode_statistics(action[:5]), episode_statistics(action[5:])])
    histogram = np.frombuffer((path / layout.histogram_key(CAMERA) / "0.0.0").read_bytes(), "<u4").reshape(-1, 3, 256)
    assert (histogram[:2].sum(2) > 0).all() and not histogram[2:].any()
    timing = Dataset(path).episodes[1]["timing"]
    gaps = np.diff(episode(world, 7).timestamps)
    assert timing["median_s"] == pytest.approx(np.median(gaps)) and timing["max_s"] == pytest.approx(gaps.max())
    assert timing["jitter_s"] == pytest.approx(np.median(np.abs(gaps - 0.1)))


def jpeg(height, width, channels=3):
    return JpegCodec().encode(np.zeros((height, width, channels), np.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.values.pop("action"), "feature 'action' is missing"),
        (lambda e: e.values.update(acton=1), "Did you mean 'action'"),
        (lambda e: e.values.update(action=np.zeros((5, 2))), r"'action' has shape \(5, 2\), expected \(6, 2\)"),
        (lambda e: e.values.update(action=[[1, 2], [3]]), "'action' is ragged"),
        (lambda e: e.values.update(action=np.zeros((6, 2), complex)), "'action' has dtype complex128"),
        (lambda e: e.values["observation.state"].__setitem__((4, 1), np.nan), r"step 4: .*state'.*\(nan\) at y"),
        (lambda e: e.timestamps.__setitem__(3, 0.1), r"step 3 has timestamp 0\.1 s, expected later"),
        (lambda e: e.timestamps.__setitem__(0, np.inf), "step 0 has timestamp inf"),
        (lambda e: e.frames[CAMERA].pop(), "front' has 5 frames, expected 6"),
        (lambda e: e.frames[CAMERA].__setitem__(4, jpeg(24, 31)), r"step 4: .*front'.*24 x 31.*expected 24 x 32"),
        (lambda e: e.frames[CAMERA].__setitem__(1, jpeg(24, 32, 1)), "step 1: .*1 channels of 8 bits.*with 3 of 8"),
        (lambda e: e.frames[CAMERA].__setitem__(5, b"nothing"), "step 5: .*front'.* not a whole JPEG image"),
        (lambda e: e.frames[CAMERA].__setitem__(2, jpeg(24, 32)[:-9]), "step 2: .*not a whole JPEG image"),
        (lambda e: setattr(e, "timestamps", np.zeros(0)), "timestamps have shape"),
        (lambda e: setattr(e, "sim_states", np.zeros((5, 3))), "has some simulator states, expected none"),
        (lambda e: e.record.update(checksums={}), "may not set 'checksums'"),
        (lambda e: e.streams.update(action=None), "recorded step by step, found streams"),
    ],
)
def test_wrong_data_is_refused_by_feature_and_step_and_changes_nothing(make_dataset, world, change, message):
    path = make_dataset(3)
    before = Dataset(path).checksum()
    wrong = episode(world)
    change(wrong)
    with DatasetWriter.append_to(path) as writer:
        with pytest.raises((FeatureError, DatasetError), match=message):
            writer.write_episode(wrong)
        assert Dataset(path).checksum() == before
        assert writer.write_episode(episode(world, first=3)) == 1
    Dataset(path).verify_episode(1)


def test_every_episode_has_its_own_simulator_model(tmp_path, world):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, world.features, fps=10, durable=False) as writer:
        writer.set_sim_model(None, {"name": "lift", "scene_version": 1})
        for model in ("<a/>", "<b/>", "<a/>"):
            writer.write_episode(episode(world, sim_states=np.ones((6, 4)), sim_model=model))
        with pytest.raises(FeatureError, match="has none simulator states, expected some"):
            writer.write_episode(episode(world))
    dataset = Dataset(path)
    assert [dataset.sim_model(k) for k in range(3)] == ["<a/>", "<b/>", "<a/>"]
    names = sorted(p.name for p in (path / "sim" / "models").iterdir())
    assert names == sorted(hashlib.sha256(text).hexdigest() + ".xml" for text in (b"<a/>", b"<b/>"))


def test_an_episode_with_streams_survives_reading_and_writing(tmp_path, world):
    signals = features(
        [
            Feature("observation.state", (2,), rate_hz=50),
            Feature(CAMERA, (24, 32, 3), "uint8", "image", rate_hz=20),
            Feature("button", (1,), "int64", "event"),
        ]
    )
    first, second, clock = tmp_path / "a.zarr", tmp_path / "b.zarr", VirtualClock()
    with DatasetWriter.create(first, signals, 10, recorded="streams") as writer:
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode()
        for k in range(50):
            clock.sleep_until(k / 50)
            recorder.add("observation.state", [k, -k], sequence=k + k // 30)
            if k % 5 == 0:
                recorder.add(CAMERA, world.image(k), clock.now(), 7 + k / 50)
        recorder.add("button", [1], device_time_s=3.0)
        recorder.commit({"task": "press"})
    with DatasetWriter.create(second, signals, 10, recorded="streams") as writer:
        for _ in range(2):
            writer.write_episode(Dataset(first).read_episode(0))
    one, two = Dataset(first), Dataset(second)
    assert one.episodes[0]["streams"] == two.episodes[1]["streams"]
    assert one.episodes[0]["streams"]["observation.state"]["dropped"] == 1
    original, copy = one.read_episode(0), two.read_episode(1)
    for name, rows in original.streams.items():
        for part in ("timestamp", "device_time", "sequence", "values", "at_step"):
            expected, found = getattr(rows, part), getattr(copy.streams[name], part)
            assert np.array_equal(expected, found, equal_nan=True) if expected is not None else found is None
    assert list(original.streams[CAMERA].frames) == list(copy.streams[CAMERA].frames)
    assert list(original.frames[CAMERA]) == list(copy.frames[CAMERA])
    files = [
        second / key / name for key, name in ((f"data/{CAMERA}", "10.0.0.0"), (f"streams/{CAMERA}/value", "10.0.0.0"))
    ]
    assert os.path.samefile(*files)
    two.verify_episode(1)


def test_whole_numbers_that_do_not_fit_are_refused(tmp_path):
    with DatasetWriter.create(tmp_path / "d.zarr", features([Feature("count", (1,), "int8")]), 10) as writer:
        assert writer.write_episode(EpisodeData(np.arange(2.0), {"count": np.array([[-128], [127]])})) == 0
        with pytest.raises(FeatureError, match="'count' holds int64 numbers that int8 cannot hold"):
            writer.write_episode(EpisodeData(np.arange(2.0), {"count": np.array([[1], [300]])}))
    assert Dataset(tmp_path / "d.zarr").array("count")[:, 0].tolist() == [-128, 127]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at_step": np.array([0, 1, 9])}, r"'s': at_step has shape \(3,\)"),
        ({"at_step": np.array([0, 2, 1])}, "rising rows of 0 to 2"),
        ({"sequence": np.zeros(2)}, "3 timestamps, but device times"),
        ({"timestamp": np.array([0.0, 0.2, 0.1])}, "Stream 's': step 2 has timestamp 0.1"),
        ({"values": np.full((3, 1), np.nan)}, "step 0: feature 's' holds a non-finite"),
    ],
)
def test_wrong_streams_are_refused_by_name(tmp_path, change, message):
    signals = features([Feature("s", (1,), rate_hz=10)])
    good = {
        "timestamp": np.array([0.0, 0.1, 0.2]), "device_time": np.full(3, np.nan), "sequence": np.arange(3),
        "values": np.arange(3.0)[:, None], "at_step": np.arange(3),
    }  # fmt: skip
    times = np.array([0.0, 0.1, 0.2])
    with DatasetWriter.create(tmp_path / "d.zarr", signals, 10, recorded="streams") as writer:
        with pytest.raises((FeatureError, DatasetError), match=message):
            writer.write_episode(EpisodeData(times, {}, streams={"s": StreamRows(**{**good, **change})}))
        values = {"s": np.zeros((3, 1))}
        with pytest.raises(FeatureError, match="differs from the rows of its stream"):
            writer.write_episode(EpisodeData(times, values, streams={"s": StreamRows(**good)}))
        with pytest.raises(FeatureError, match="stream 's' is missing"):
            writer.write_episode(EpisodeData(times, {"s": good["values"]}))
        assert writer.write_episode(EpisodeData(times, {}, streams={"s": StreamRows(**good)})) == 0


def test_a_frame_left_by_an_interrupted_commit_is_replaced_not_overwritten(make_dataset, world, tmp_path):
    """It may be a hard link to the journal that the next `repair` salvages."""
    path = make_dataset(3)
    journal_frame = tmp_path / "frame"
    journal_frame.write_bytes(b"precious")
    os.link(journal_frame, path / "data" / CAMERA / "3.0.0.0")
    with DatasetWriter.append_to(path) as writer:
        writer.write_episode(episode(world, first=3))
    assert journal_frame.read_bytes() == b"precious"
    Dataset(path).verify_episode(1)


def test_codecs_of_single_features_and_subsampling_can_be_chosen(tmp_path, world):
    signals = features([Feature(f"observation.images.{k}", (24, 32, 3), "uint8", "image") for k in "ab"])
    codecs = {"observation.images.b": PngCodec()}
    with DatasetWriter.create(tmp_path / "d.zarr", signals, 10, jpeg_subsampling="420", codecs=codecs) as writer:
        assert writer.codec("observation.images.a").get_config()["subsampling"] == "420"
        assert isinstance(writer.codec("observation.images.b"), PngCodec)
        writer.start_episode()
        writer.append(0, {name: world.image(3) for name in signals})
        writer.commit({})
    assert (Dataset(tmp_path / "d.zarr").image("observation.images.b", 0) == world.image(3)).all()
    with pytest.raises(DatasetError, match="'444', '422', '420'"):
        DatasetWriter.create(tmp_path / "e.zarr", signals, 10, jpeg_subsampling="411")


@pytest.mark.parametrize(
    ("image", "codec", "expected"),
    [
        (np.zeros((5, 7, 3), np.uint8), JpegCodec(), (5, 7, 3, 8)),
        (np.zeros((300, 7), np.uint8), JpegCodec(50, "420"), (300, 7, 1, 8)),
        (np.zeros((5, 7, 3), np.uint8), PngCodec(), (5, 7, 3, 8)),
        (np.zeros((5, 700), np.uint16), PngCodec(), (5, 700, 1, 16)),
    ],
)
def test_the_header_of_an_image_tells_its_shape(image, codec, expected):
    data = codec.encode(image)
    assert image_header(data) == expected
    for cut in range(0, 30, 3):
        with pytest.raises(DatasetError, match="no JPEG or PNG header"):
            image_header(data[: min(cut, 15)])


def test_any_changed_byte_of_the_metadata_is_found(make_dataset):
    path = make_dataset(2)
    file = path / ".zmetadata"
    data = file.read_bytes()
    for place in range(0, len(data), 37):
        file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(DatasetError, match="damaged|another kind|format version"):
            Dataset(path)


def test_a_changed_record_is_found_before_anything_is_appended(make_dataset):
    path = make_dataset(2, 3)
    file = path / "meta" / "episodes" / "0"
    file.write_bytes(file.read_bytes().replace(b'"num_steps": 2', b'"num_steps": 9'))
    with pytest.raises(DatasetError, match="does not have the checksum of the records"):
        DatasetWriter.append_to(path)


def test_every_record_carries_its_own_checksum(make_dataset):
    path = make_dataset(2, 3)
    records = Dataset(path).recorded_episodes
    for record in records:
        text = json.dumps({k: v for k, v in record.items() if k != "crc32"}, ensure_ascii=False).encode()
        assert zlib.crc32(text) == record["crc32"]
        assert layout.is_sealed(layout.sealed_json({k: v for k, v in record.items() if k != "crc32"}))
