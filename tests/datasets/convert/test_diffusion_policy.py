import json
import re
import sys
import zipfile

import numcodecs.registry
import numpy as np
import pytest
import zarr

from robolearn.core.errors import ConfigError, DatasetError, MissingDependencyError
from robolearn.datasets.convert.diffusion_policy import layouts as zarr_layouts
from robolearn.datasets.convert.diffusion_policy import reader as diffusion_policy_zarr
from robolearn.datasets.convert.diffusion_policy import replay_buffer
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset

ENDS = [4, 9]


def make_source(path, ends=ENDS, **arrays):
    group = zarr.create_group(path, zarr_format=2)
    for key, array in arrays.items():
        group.create_array(f"data/{key}", data=array, chunks=(3, *array.shape[1:]) if array.shape else ())
    group.create_array("meta/episode_ends", data=np.array(ends, np.int64))
    return path


def pusht_arrays(steps=9, image_dtype=np.uint8):
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(rng.integers(0, 256, (steps, 1, 1, 3)), (steps, 96, 96, 3))
    return {
        "state": rng.uniform(0, 512, (steps, 5)).astype(np.float32),
        "action": rng.uniform(0, 512, (steps, 2)).astype(np.float32),
        "keypoint": rng.uniform(0, 512, (steps, 8, 2)).astype(np.float32),
        "img": flat.astype(image_dtype),
        "coverage": rng.uniform(0, 1, steps).astype(np.float32),
    }


def test_pusht_gets_the_features_of_its_environment(tmp_path):
    arrays = pusht_arrays()
    source = make_source(tmp_path / "pusht.zarr", **arrays)
    assert detect_format(source) == "diffusion_policy_zarr"
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert (report.num_episodes, report.num_steps) == (2, 9)
    assert dataset.episode_ends.tolist() == ENDS
    assert (dataset.array("observation.environment_state") == arrays["keypoint"].reshape(9, 16)).all()
    assert (dataset.array("observation.state") == arrays["state"][:, :2]).all()
    assert (dataset.array("observation.full_state") == arrays["state"]).all()
    assert (dataset.array("action") == arrays["action"]).all()
    assert (dataset.array("coverage") == arrays["coverage"][:, None]).all()
    assert all((dataset.image("observation.images.top", k) == arrays["img"][k]).all() for k in range(9))
    assert (dataset.fps, dataset.episodes[1]["task"]) == (10, "Push the T-shaped block onto the T-shaped target.")
    assert dataset.timestamps[4:] == pytest.approx(np.arange(5) / 10)
    assert dataset.features["action"].unit == "px"


def test_known_keys_in_double_precision_keep_it(tmp_path):
    arrays = {key: a.astype(np.float64) + 1 / 3 if key != "img" else a for key, a in pusht_arrays().items()}
    convert_dataset(make_source(tmp_path / "pusht.zarr", **arrays), tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert np.array_equal(dataset.array("action"), arrays["action"])
    assert dataset.features["observation.full_state"].dtype == "float64"


def test_pusht_features_fit_the_environment():
    pytest.importorskip("gym_pusht")
    from robolearn.core.feature import features, require
    from robolearn.sim.registry import make_env

    env = make_env("pusht", cameras=("top",))
    ours = features(column.feature for column in zarr_layouts.PUSHT.columns)
    require({"action": env.action_feature}, ours, "the environment", "the dataset")
    require(env.observation_features, ours, "the environment", "the dataset")


def test_float_images_become_uint8(tmp_path):
    arrays = pusht_arrays(image_dtype=np.float32)
    source = make_source(tmp_path / "pusht.zarr", **arrays)
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    assert (Dataset(tmp_path / "out.zarr").image("observation.images.top", 3) == arrays["img"][3]).all()


def zipped(folder, path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_is_read_without_unpacking(tmp_path, compression):
    folder = make_source(tmp_path / "pusht.zarr", **pusht_arrays())
    packed = zipped(folder, tmp_path / "pusht.zarr.zip", compression)
    assert detect_format(packed) == "diffusion_policy_zarr"
    before = set(tmp_path.iterdir())
    convert_dataset(packed, tmp_path / "zip.zarr", ConvertOptions(workers=2))
    assert set(tmp_path.iterdir()) - before == {tmp_path / "zip.zarr"}
    convert_dataset(folder, tmp_path / "folder.zarr", ConvertOptions())
    assert Dataset(tmp_path / "zip.zarr").checksum() == Dataset(tmp_path / "folder.zarr").checksum()


def test_an_entry_of_a_zip_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_buffer, "LARGEST_ENTRY", 1000)
    path = tmp_path / "bomb.zarr.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in diffusion_policy_zarr.NEEDED:
            archive.writestr(name, "{}")
        archive.writestr("data/action/0.0", bytes(100_000))
    with pytest.raises(DatasetError, match=r"data/action/0\.0 would have 100000 bytes, more than 1000; store"):
        convert_dataset(path, tmp_path / "out.zarr", ConvertOptions(fps=10))


def test_a_truncated_zip_is_not_recognised_and_one_line(tmp_path):
    packed = zipped(make_source(tmp_path / "a.zarr", **pusht_arrays()), tmp_path / "a.zarr.zip")
    packed.write_bytes(packed.read_bytes()[:-1000])
    with pytest.raises(DatasetError, match="is not in a format that can be read"):
        convert_dataset(packed, tmp_path / "out.zarr", ConvertOptions())
    with pytest.raises(DatasetError, match="cannot be read as a replay buffer") as caught:
        convert_dataset(packed, tmp_path / "out.zarr", ConvertOptions(), "diffusion_policy_zarr")
    assert "\n" not in str(caught.value)


def umi_arrays(robots=1, steps=9):
    rng = np.random.default_rng(0)
    arrays = {}
    for k in range(robots):
        arrays |= {
            f"robot{k}_eef_pos": rng.normal(size=(steps, 3)).astype(np.float32),
            f"robot{k}_eef_rot_axis_angle": rng.normal(size=(steps, 3)).astype(np.float32),
            f"robot{k}_gripper_width": rng.uniform(0, 0.08, (steps, 1)).astype(np.float32),
            f"robot{k}_demo_start_pose": rng.normal(size=(steps, 6)),
            f"robot{k}_demo_end_pose": rng.normal(size=(steps, 6)),
            f"camera{k}_rgb": rng.integers(0, 256, (steps, 32, 32, 3)).astype(np.uint8),
        }
    return arrays


@pytest.mark.parametrize("robots", [1, 2])
def test_the_keys_of_umi_are_known(tmp_path, robots):
    arrays = umi_arrays(robots)
    source = zipped(make_source(tmp_path / "umi.zarr", **arrays), tmp_path / "dataset.zarr.zip")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(task="arrange the cups"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.fps == 60
    parts = [
        arrays[f"robot{k}_{name}"] for k in range(robots) for name in ("eef_pos", "eef_rot_axis_angle", "gripper_width")
    ]
    assert (dataset.array("observation.state") == np.concatenate(parts, axis=1)).all()
    assert (dataset.array("action") == dataset.array("observation.state")).all()
    assert dataset.features["action"].names[:7] == tuple(
        f"robot0_{n}" for n in ("x", "y", "z", "rx", "ry", "rz", "width")
    )
    assert dataset.features[f"observation.images.camera{robots - 1}"].kind == "image"
    assert dataset.array("observation.robot0_demo_start_pose").shape == (9, 6)
    assert any("UMI stores no commands" in note for note in report.notes)


def test_images_of_umi_need_imagecodecs(tmp_path, monkeypatch):
    """JPEG XL, as UMI's own datasets: decoded where imagecodecs is installed, else one line that names it."""
    source = make_source(tmp_path / "umi.zarr", **umi_arrays())
    array = source / "data/camera0_rgb/.zarray"
    described = json.loads(array.read_text())
    array.write_text(json.dumps(described | {"compressor": {"id": "imagecodecs_jpegxl", "level": 99}}))
    for known in (numcodecs.registry.codec_registry, numcodecs.registry.entries):
        monkeypatch.delitem(known, "imagecodecs_jpegxl", raising=False)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setitem(sys.modules, "imagecodecs.numcodecs", None)
    with pytest.raises(
        MissingDependencyError, match="compressed with imagecodecs_jpegxl; install imagecodecs with: pip install"
    ):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions())


def test_arrays_of_objects_are_never_decoded(tmp_path):
    """They may be pickles, which run code when they are read."""
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2), np.float32))
    folder = source / "data" / "notes"
    folder.mkdir()
    described = {"zarr_format": 2, "shape": [9], "chunks": [9], "dtype": "|O", "compressor": None, "fill_value": None,
                 "filters": [{"id": "pickle", "protocol": 5}], "order": "C"}  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(described))
    (folder / "0").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert "action" in Dataset(tmp_path / "out.zarr").features
    assert any("data/notes" in note for note in report.notes)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("codec", ["Jpegxl", "Jpeg2k"])
def test_jpeg_xl_and_jpeg_2000_are_decoded(tmp_path, codec):
    module = pytest.importorskip("imagecodecs.numcodecs", reason="imagecodecs is not installed")
    arrays = umi_arrays()
    source = make_source(tmp_path / "umi.zarr", **arrays)
    encoder = getattr(module, codec)(
        level=None if codec == "Jpeg2k" else 99, **({"reversible": True} if codec == "Jpeg2k" else {})
    )
    folder = source / "data/camera0_rgb"
    described = json.loads((folder / ".zarray").read_text()) | {"chunks": [1, 32, 32, 3]}
    (folder / ".zarray").write_text(json.dumps(described | {"compressor": encoder.get_config()}))
    for step, image in enumerate(arrays["camera0_rgb"]):
        (folder / f"{step}.0.0.0").write_bytes(encoder.encode(image))
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(image_codec="png"))
    dataset = Dataset(tmp_path / "out.zarr")
    assert all((dataset.image("observation.images.camera0", k) == arrays["camera0_rgb"][k]).all() for k in range(9))


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_numbers_stored_as_pickles_are_refused(tmp_path, place):
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2), np.float32))
    array = source / "data/action/.zarray"
    pickle = {"id": "pickle", "protocol": 5}
    described = json.loads(array.read_text()) | {place: [pickle] if place == "filters" else pickle}
    array.write_text(json.dumps(described))
    with pytest.raises(DatasetError, match="data/action is stored as pickles|holds no data"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))


def test_other_keys_get_sensible_names_that_can_be_changed(tmp_path):
    arrays = {
        "action": np.ones((9, 7), np.float64),
        "robot0_eef_pos": np.ones((9, 3), np.float32),
        "camera0_rgb": np.full((9, 24, 24, 3), 7, np.uint8),
        "n_contacts": np.arange(9, dtype=np.int64),
    }
    source = make_source(tmp_path / "umi.zarr", **arrays)
    options = ConvertOptions(fps=20, rename={"n_contacts": "contacts"}, task="arrange the cups")
    convert_dataset(source, tmp_path / "out.zarr", options)
    found = {name: (f.shape, f.dtype, f.kind) for name, f in Dataset(tmp_path / "out.zarr").features.items()}
    assert found == {
        "action": ((7,), "float64", "action"),
        "observation.robot0_eef_pos": ((3,), "float32", "state"),
        "observation.images.camera0_rgb": ((24, 24, 3), "uint8", "image"),
        "contacts": ((1,), "int64", "state"),
    }
    with pytest.raises(ConfigError, match="--fps"):
        convert_dataset(source, tmp_path / "other.zarr", ConvertOptions())
    assert not (tmp_path / "other.zarr").exists()


@pytest.mark.parametrize(
    ("ends", "arrays", "message"),
    [
        (
            [6, 4, 9],
            {"action": np.ones((9, 2))},
            "meta/episode_ends falls from 6 to 4 at episode 1; expected cumulative",
        ),
        (
            [9],
            {"gain": np.ones(())},
            "holds no data: data/gain is not carried over: it has no steps, the first episode 9",
        ),
        ([9], {}, "is not in a format|cannot be read"),
    ],
)
def test_a_source_that_means_nothing_is_one_line(tmp_path, ends, arrays, message):
    source = make_source(tmp_path / "a.zarr", ends, **arrays)
    with pytest.raises(DatasetError, match=message):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert not list(tmp_path.glob("out*"))


def test_an_empty_episode_is_left_out_and_named(tmp_path):
    action = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    source = make_source(tmp_path / "a.zarr", [4, 4, 9], action=action)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.skipped == (f"{source}: episode 1: it has no steps.",)
    dataset = Dataset(tmp_path / "out.zarr")
    assert [record["source_episode"] for record in dataset.episodes] == [0, 2]
    assert (dataset.array("action") == action).all()


def test_rows_after_the_last_episode_are_left_out_and_named(tmp_path):
    action = np.arange(1, 25, dtype=np.float32).reshape(12, 2)
    source = make_source(tmp_path / "a.zarr", [4, 9], action=action, state=action[:10])
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.notes[:2] == (
        "rows 9 to 11 of data/action come after the last episode and are left out: an interrupted recording?",
        "rows 9 to 9 of data/state come after the last episode and are left out: an interrupted recording?",
    )
    assert (Dataset(tmp_path / "out.zarr").array("action") == action[:9]).all()


def test_an_episode_that_one_array_does_not_reach_is_left_out_and_named(tmp_path):
    source = make_source(tmp_path / "a.zarr", [4, 9], action=np.ones((9, 2)), state=np.ones((7, 2)), fixed=np.eye(3))
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.skipped == (
        f"{source}: episode 1: it ends at row 9, and data/state has 7, fewer: an interrupted recording.",
    )
    assert report.notes[0] == "data/fixed is not carried over: it has 3 steps, the first episode 4"
    assert Dataset(tmp_path / "out.zarr").episode_ends.tolist() == [4]


def test_a_damaged_chunk_costs_its_episode_and_is_named_with_its_steps(tmp_path):
    source = make_source(tmp_path / "a.zarr", [3, 9], action=np.ones((9, 2)), img=np.ones((9, 16, 16, 3), np.uint8))
    chunk = source / "data/img/2.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:3])
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 1
    (line,) = report.skipped
    assert line.startswith(f"{source}: episode 1: data/img, steps 3 to 5 (rows 6 to 8), cannot be read (error")


@pytest.mark.parametrize("shards", [None, (6, 2)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_zarr_3_folder_is_a_replay_buffer_too(tmp_path, shards, packed):
    action = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    source = tmp_path / "a.zarr"
    group = zarr.create_group(source, zarr_format=3)
    group.create_array("data/action", data=action, chunks=(3, 2), shards=shards)
    group.create_array("meta/episode_ends", data=np.array(ENDS, np.int64))
    source = zipped(source, tmp_path / "a.zip") if packed else source
    assert detect_format(source) == "diffusion_policy_zarr"
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    dataset = Dataset(tmp_path / "out.zarr")
    assert (dataset.array("action") == action).all()
    assert dataset.attributes["metadata"]["provenance"]["format_version"] == "zarr 3"


def test_a_lost_shard_is_not_read_as_zeros(tmp_path):
    source = tmp_path / "a.zarr"
    group = zarr.create_group(source, zarr_format=3)
    group.create_array("data/action", data=np.ones((9, 2), np.float32), chunks=(1, 2), shards=(3, 2))
    group.create_array("meta/episode_ends", data=np.array([3, 9], np.int64))
    (source / "data/action/c/2/0").unlink()
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.skipped == (f"{source}: episode 1: chunk data/action/c/2/0 is missing: possibly an incomplete copy.",)


@pytest.fixture(params=["folder", "zip"])
def without(request, tmp_path):
    """Three episodes of three steps, one chunk each, of which the named files are lost."""

    def make(*lost):
        rng = np.random.default_rng(0)
        folder = make_source(
            tmp_path / "a.zarr", [3, 6, 9], action=rng.uniform(1, 2, (9, 2)), state=rng.uniform(1, 2, (9, 4))
        )
        for name in lost:
            (folder / name).unlink()
        return folder if request.param == "folder" else zipped(folder, tmp_path / "a.zip")

    return make


def test_an_episode_with_a_missing_chunk_is_left_out_and_never_read_as_zeros(without, tmp_path):
    source = without("data/action/1.0")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.notes[0] == "data/action: chunks are missing, episodes that need them are left out"
    (left_out,) = report.skipped
    assert left_out == f"{source}: episode 1: chunk data/action/1.0 is missing: possibly an incomplete copy."
    dataset = Dataset(tmp_path / "out.zarr")
    assert [record["source_episode"] for record in dataset.episodes] == [0, 2]
    assert dataset.array("action").min() >= 1


def test_missing_chunks_hold_zeros_when_that_is_said(without, tmp_path):
    source = without("data/action/1.0", *(f"data/state/{k}.0" for k in range(3)))
    options = ConvertOptions(fps=10, missing_as_zeros=True)
    report = convert_dataset(source, tmp_path / "out.zarr", options)
    assert (report.num_episodes, report.skipped) == (3, ())
    assert "data/action: chunks are read as zeros" in report.notes
    dataset = Dataset(tmp_path / "out.zarr")
    assert not dataset.array("action")[3:6].any()
    assert not dataset.array("observation.state").any()


def test_every_episode_that_touches_a_missing_chunk_is_left_out(tmp_path):
    source = make_source(tmp_path / "a.zarr", [1, 3, 4, 9], action=np.ones((9, 2)))  # chunks: 0-2, 3-5, 6-8
    (source / "data/action/1.0").unlink()
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert [line.split(": ")[1] for line in report.skipped] == ["episode 2", "episode 3"]


def test_an_array_without_any_chunk_is_not_taken_for_zeros(without, tmp_path):
    source = without(*(f"data/state/{k}.0" for k in range(3)))
    message = r"no chunk of data/state is there: possibly an incomplete copy; copy it again, or say that it holds zeros"
    with pytest.raises(DatasetError, match=message):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert not list(tmp_path.glob("out*"))


def test_missing_ends_of_episodes_are_named(without, tmp_path):
    source = without("meta/episode_ends/0")
    with pytest.raises(DatasetError, match=r"meta/episode_ends/0 is missing, which says where episodes end: possibly"):
        convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))


def test_values_that_cannot_be_stored_are_located(tmp_path):
    action = np.ones((9, 2), np.float32)
    action[6, 1] = np.nan
    source = make_source(tmp_path / "a.zarr", action=action)
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert report.num_episodes == 1
    assert "a.zarr: episode 1, " in report.skipped[0]
    assert re.search("step 2.* 'action' holds a non-finite value", report.skipped[0])


def test_our_own_datasets_are_not_taken_for_replay_buffers(make_dataset):
    assert not diffusion_policy_zarr.detect(make_dataset(2))


def test_real_human_pusht(shared_data, tmp_path):
    source = shared_data / "pusht.zarr"
    described = diffusion_policy_zarr.describe(source)
    assert (described.num_episodes, described.num_steps, described.fps) == (206, 25650, 10)
    convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(max_episodes=5))
    dataset = Dataset(tmp_path / "out.zarr")
    group, n = zarr.open_group(source, mode="r"), dataset.num_steps
    assert (dataset.array("observation.environment_state") == group["data/keypoint"][:n].reshape(n, 16)).all()
    assert (dataset.array("action") == group["data/action"][:n]).all()
    for step in (0, n // 2, n - 1):
        original = group["data/img"][step].astype(float)
        mse = np.mean((dataset.image("observation.images.top", step) - original) ** 2)
        assert 10 * np.log10(255**2 / mse) > 38


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_in_groups_of_their_own_are_read_and_others_named(tmp_path, zarr_format, packed):
    state = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    source = tmp_path / "a.zarr"
    group = zarr.create_group(source, zarr_format=zarr_format)
    group.create_array("data/actions", data=-state, chunks=(3, 2))
    group.create_array("data/obs/state", data=state, chunks=(3, 2))
    group.create_array("data/obs/images/top", data=np.full((9, 16, 20, 3), 7, np.uint8), chunks=(3, 16, 20, 3))
    group.create_array("meta/episode_ends", data=np.array(ENDS, np.int64))
    group.create_array("meta/speed", data=np.array([1.0, 2.0]))
    source = zipped(source, tmp_path / "a.zip") if packed else source
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    dataset = Dataset(tmp_path / "out.zarr")
    assert set(dataset.features) == {"action", "observation.state", "observation.images.top"}
    assert (dataset.array("observation.state") == state).all()
    assert report.notes[0] == "meta/speed is not carried over: only the ends of episodes are read there"


def test_an_array_that_cannot_be_opened_costs_only_itself(tmp_path):
    source = make_source(tmp_path / "a.zarr", action=np.ones((9, 2)), state=np.ones((9, 2)))
    (source / "data/state/.zarray").write_text("{")
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(fps=10))
    assert list(Dataset(tmp_path / "out.zarr").features) == ["action"]
    assert report.notes[0].startswith("data/state is not carried over: it cannot be opened (")
