"""ACT's and ALOHA's HDF5, made here as its recorders make it: a file an episode, raw or compressed pictures."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.convert.aloha import reader as aloha_hdf5
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset

h5py = pytest.importorskip("h5py")

STEPS, HEIGHT, WIDTH = 6, 24, 32
CAMERAS = ("cam_high", "cam_left_wrist")
PNG = ConvertOptions(image_codec="png")


def picture(episode: int, step: int, camera: int = 0) -> np.ndarray:
    """RGB: an orange field with a corner that says which picture it is; blue is 0, red is not."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0], image[..., 1] = 240, 120
    image[:12, :16] = 20 * step, 60 * camera, 20 * episode
    return image


def compressed(pictures: list[np.ndarray]) -> np.ndarray:
    """Rows of one length, as the recorder makes them: RGB handed to OpenCV's encoder, padded with zeros."""
    encoded = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for image in pictures]
    longest = max(map(len, encoded))
    return np.stack([np.pad(data.ravel(), (0, longest - len(data))) for data in encoded])


def numbers(episode: int, offset: float, size: int = 14, steps: int = STEPS) -> np.ndarray:
    return (offset + 100 * episode + np.arange(steps * size).reshape(steps, size)).astype(np.float32)


def write(path: Path, episode: int, compress: bool = False, steps: int = STEPS, mobile: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = False
        file.attrs["compress"] = compress
        file["action"] = numbers(episode, 0.5, steps=steps)
        for name, offset in (("qpos", 0.0), ("qvel", 0.25), ("effort", 0.75)):
            file[f"observations/{name}"] = numbers(episode, offset, steps=steps)
        for camera, name in enumerate(CAMERAS):
            pictures = [picture(episode, step, camera) for step in range(steps)]
            empty = np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)
            stored = compressed(pictures) if compress else np.stack(pictures) if pictures else empty
            file[f"observations/images/{name}"] = stored
        if compress:
            file["compress_len"] = np.zeros((len(CAMERAS), steps), np.float32)
        if mobile:
            file["base_action"] = numbers(episode, 0.0, 2, steps)
    return path


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "aloha"
    found.mkdir()
    return found


@pytest.mark.parametrize("compress", [False, True])
def test_every_step_arrives_as_it_was_recorded(folder, tmp_path, compress):
    for episode in range(2):
        write(folder / f"episode_{episode}.hdf5", episode, compress)
    assert detect_format(folder) == "aloha_hdf5"
    convert_dataset(folder, tmp_path / "out.zarr", PNG)
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.episode_ends.tolist() == [STEPS, 2 * STEPS] and dataset.fps == 50.0
    assert np.array_equal(dataset.timestamps, np.tile(np.arange(STEPS) / 50, 2))
    for name, offset in (("action", 0.5), ("state", 0.0), ("velocity", 0.25), ("effort", 0.75)):
        name = name if name == "action" else f"observation.{name}"
        assert np.array_equal(dataset.array(name), np.concatenate([numbers(0, offset), numbers(1, offset)])), name
    for row in range(2 * STEPS):
        for camera, name in enumerate(CAMERAS):
            found = dataset.image(f"observation.images.{name}", row).astype(int)
            error = np.abs(found - picture(*divmod(row, STEPS), camera))
            assert error.max() == 0 if not compress else error.mean() < 3, (row, name)


def test_red_and_blue_of_compressed_pictures_are_put_right(folder, tmp_path):
    write(folder / "episode_0.hdf5", 0, compress=True)
    report = convert_dataset(folder, tmp_path / "out.zarr", ConvertOptions())
    red, green, blue = Dataset(tmp_path / "out.zarr").image("observation.images.cam_high", 0)[20, 28].astype(int)
    assert abs(red - 240) < 8 and abs(green - 120) < 8 and blue < 8
    assert any("red and blue swapped, as the recorder of ACT writes them" in note for note in report.notes)


@pytest.mark.parametrize("compress", [False, True])
def test_files_of_other_programs_have_colours_the_other_way_round(folder, tmp_path, compress):
    with h5py.File(write(folder / "episode_0.hdf5", 0), "a") as file:
        bgr = [picture(0, step)[..., ::-1] for step in range(STEPS)]  # which OpenCV's encoder takes for what they are
        del file["observations/images/cam_high"]
        file["observations/images/cam_high"] = compressed(bgr) if compress else np.stack(bgr)
    report = convert_dataset(folder, tmp_path / "out.zarr", ConvertOptions(swap_colours=True))
    red, _, blue = Dataset(tmp_path / "out.zarr").image("observation.images.cam_high", 0)[20, 28].astype(int)
    assert abs(red - 240) < 8 and blue < 8
    assert not any("put right" in note for note in report.notes)


def test_colours_that_are_known_cannot_be_swapped(make_dataset, tmp_path):
    from robolearn.datasets.convert.export.registry import export_dataset

    there = export_dataset(make_dataset(3), tmp_path / "there.hdf5", "robomimic_hdf5").output
    with pytest.raises(ConfigError, match="--swap-colours: the order of colours in .* is known"):
        convert_dataset(there, tmp_path / "back.zarr", ConvertOptions(swap_colours=True))


def test_episodes_are_in_the_order_of_their_numbers_and_gaps_are_named(folder, tmp_path):
    for episode in (0, 2, 9, 10, 11):
        write(folder / f"episode_{episode}.hdf5", episode)
    write(folder / "mirror_episode_0.hdf5", 5)
    report = convert_dataset(folder, tmp_path / "out.zarr", PNG)
    dataset = Dataset(tmp_path / "out.zarr")
    assert [record["source_episode"] for record in dataset.episodes] == [f"episode_{k}" for k in (0, 2, 9, 10, 11)]
    assert dataset.array("action")[::STEPS, 0].tolist() == [100 * k + 0.5 for k in (0, 2, 9, 10, 11)]
    assert "the numbers of the files have gaps: there is no episode 1, 3-8" in report.notes
    assert any(
        note.startswith("1 other HDF5 files are left out") and "mirror_episode_0" in note for note in report.notes
    )


def test_a_single_file_is_an_episode(tmp_path):
    file = write(tmp_path / "demo_of_mine.h5", 0)
    assert detect_format(file) == "aloha_hdf5"
    convert_dataset(file, tmp_path / "out.zarr", PNG)
    assert [record["source_episode"] for record in Dataset(tmp_path / "out.zarr").episodes] == ["demo_of_mine"]


def test_joints_are_named_and_the_names_are_said(folder, tmp_path):
    write(folder / "episode_0.hdf5", 0)
    report = convert_dataset(folder, tmp_path / "out.zarr", PNG)
    names = Dataset(tmp_path / "out.zarr").features["observation.state"].names
    assert len(names) == 14 and names[0] == "left_waist" and names[6] == "left_gripper" and names[7] == "right_waist"
    assert Dataset(tmp_path / "out.zarr").features["action"].kind == "action"
    assert any("the 14 elements of action, " in note and "left_waist" in note for note in report.notes)


def test_the_measured_base_is_an_observation(folder, tmp_path):
    write(folder / "episode_0.hdf5", 0, mobile=True)
    report = convert_dataset(folder, tmp_path / "out.zarr", PNG)
    feature = Dataset(tmp_path / "out.zarr").features["observation.base_velocity"]
    assert feature.names == ("linear", "angular") and feature.kind == "state"
    assert np.array_equal(Dataset(tmp_path / "out.zarr").array(feature.name), numbers(0, 0.0, 2))
    assert any("base_action is what the base measured" in note for note in report.notes)
    rename = {"base_action": "action.base"}
    convert_dataset(folder, tmp_path / "renamed.zarr", ConvertOptions(rename=rename))
    assert Dataset(tmp_path / "renamed.zarr").features["action.base"].kind == "action"


def test_depth_beside_the_pictures_keeps_its_millimetres(folder, tmp_path):
    depth = (np.arange(STEPS * HEIGHT * WIDTH).reshape(STEPS, HEIGHT, WIDTH) * 7 % 65536).astype(np.uint16)
    with h5py.File(write(folder / "episode_0.hdf5", 0, compress=True), "a") as file:
        file["observations/images/cam_high_depth"] = depth
    convert_dataset(folder, tmp_path / "out.zarr", ConvertOptions())
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.features["observation.depth.cam_high"].kind == "depth"
    assert all(np.array_equal(dataset.image("observation.depth.cam_high", k), depth[k]) for k in range(STEPS))


def test_pictures_of_their_own_length_and_byte_strings_are_read(folder, tmp_path):
    for episode, kind in enumerate(("rows", "vlen", "strings")):
        file = write(folder / f"episode_{episode}.hdf5", episode, compress=True)
        with h5py.File(file, "a") as opened:
            for name in CAMERAS:
                images = opened["observations/images"]
                rows = images[name][()]
                if kind == "vlen":
                    del images[name]
                    data = images.create_dataset(name, (STEPS,), h5py.vlen_dtype(np.uint8))
                    for step, row in enumerate(rows):
                        data[step] = np.trim_zeros(row, "b")
                elif kind == "strings":
                    del images[name]
                    images[name] = np.array([row.tobytes() for row in rows])
    convert_dataset(folder, tmp_path / "out.zarr", PNG)
    dataset = Dataset(tmp_path / "out.zarr")
    assert dataset.num_episodes == 3
    for row in range(3 * STEPS):
        error = dataset.image("observation.images.cam_high", row).astype(int) - picture(*divmod(row, STEPS))
        assert np.abs(error).mean() < 3, row


def test_a_camera_without_a_picture_costs_no_episode(folder, tmp_path):
    with h5py.File(write(folder / "episode_0.hdf5", 0, compress=True), "a") as file:
        file["observations/images/cam_low"] = np.zeros((STEPS, 100), np.uint8)
    report = convert_dataset(folder, tmp_path / "out.zarr", ConvertOptions())
    assert set(Dataset(tmp_path / "out.zarr").features) >= {f"observation.images.{name}" for name in CAMERAS}
    assert any(note.startswith("observations/images/cam_low (uint8, shape (6, 100)) is not") for note in report.notes)


def test_the_rate_is_known_given_or_stored(folder, tmp_path):
    file = write(folder / "episode_0.hdf5", 0)
    report = convert_dataset(folder, tmp_path / "a.zarr", PNG)
    assert any("k / 50 s, the nominal rate of ALOHA (--fps says otherwise)" in note for note in report.notes)
    convert_dataset(folder, tmp_path / "b.zarr", ConvertOptions(fps=30))
    assert Dataset(tmp_path / "b.zarr").timestamps[1] == 1 / 30
    with h5py.File(file, "a") as opened:
        opened.attrs["fps"] = 25
    convert_dataset(folder, tmp_path / "c.zarr", PNG)
    assert Dataset(tmp_path / "c.zarr").fps == 25
    with pytest.raises(ConfigError, match="stores its rate, 25 Hz: leave out --fps"):
        convert_dataset(folder, tmp_path / "d.zarr", ConvertOptions(fps=30))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def shorten_pictures(file: Path) -> None:
    with h5py.File(file, "a") as opened:
        rows = opened["observations/images/cam_high"][()]
        del opened["observations/images/cam_high"]
        opened["observations/images/cam_high"] = rows[:-1]


def drop_camera(file: Path) -> None:
    with h5py.File(file, "a") as opened:
        del opened["observations/images/cam_left_wrist"]


def cut_a_picture(file: Path) -> None:
    with h5py.File(file, "a") as opened:
        opened["observations/images/cam_high"][3, 200:] = 0


def a_picture_of_another_size(file: Path) -> None:
    with h5py.File(file, "a") as opened:
        rows = opened["observations/images/cam_high"][()]
        other = compressed([np.zeros((8, 8, 3), np.uint8)])[0]
        rows[2] = 0
        rows[2, : len(other)] = other[: rows.shape[1]]
        opened["observations/images/cam_high"][...] = rows


def no_steps(file: Path) -> None:
    file.unlink()
    write(file, 2, steps=0)


@pytest.mark.parametrize(
    ("harm", "compress", "said"),
    [
        (truncate, False, "damaged or truncated"),
        (shorten_pictures, False, r"cam_high has shape \(5, 24, 32, 3\), action has 6 steps"),
        (drop_camera, False, "it has no observations/images/cam_left_wrist, which the other episodes have"),
        (cut_a_picture, True, "step 3 of /observations/images/cam_high"),
        (a_picture_of_another_size, True, "step 2 of /observations/images/cam_high: it is 8x8, expected 24x32"),
        (no_steps, False, "it has no steps"),
    ],
)
def test_a_damaged_episode_is_left_out_and_named(folder, tmp_path, harm, compress, said):
    for episode in range(4):
        write(folder / f"episode_{episode}.hdf5", episode, compress)
    harm(folder / "episode_2.hdf5")
    report = convert_dataset(folder, tmp_path / "out.zarr", PNG)
    dataset = Dataset(tmp_path / "out.zarr")
    assert [record["source_episode"] for record in dataset.episodes] == ["episode_0", "episode_1", "episode_3"]
    (line,) = report.skipped
    assert "episode_2.hdf5" in line and "\n" not in line
    assert re.search(said, line), line


def test_a_folder_is_recognised_although_its_first_file_is_damaged(folder):
    for episode in range(3):
        write(folder / f"episode_{episode}.hdf5", episode)
    truncate(folder / "episode_0.hdf5")
    assert aloha_hdf5.detect(folder)


def test_what_a_few_files_hold_is_not_carried_over_and_said(folder, tmp_path):
    for episode in range(3):
        write(folder / f"episode_{episode}.hdf5", episode, mobile=episode == 1)
    report = convert_dataset(folder, tmp_path / "out.zarr", PNG)
    assert "observation.base_velocity" not in Dataset(tmp_path / "out.zarr").features
    assert "base_action is not carried over: 1 of the 3 files looked at have it" in report.notes


def test_texts_are_the_task_and_other_things_are_said(folder, tmp_path):
    with h5py.File(write(folder / "episode_0.hdf5", 0), "a") as file:
        file["language_raw"] = np.array([b"fold the towel"])
        file["calibration"] = np.eye(4)
    report = convert_dataset(folder, tmp_path / "out.zarr", PNG)
    assert Dataset(tmp_path / "out.zarr").episodes[0]["task"] == "fold the towel"
    assert any(note.startswith("calibration (float64, shape (4, 4)) is not carried over") for note in report.notes)
    described = aloha_hdf5.describe(folder)
    assert (described.num_episodes, described.num_steps, described.fps) == (1, STEPS, 50.0)
    assert described.tasks == ("fold the towel",)


def test_other_folders_are_not_taken_for_it(tmp_path):
    (tmp_path / "episode_0.hdf5").write_bytes(b"nothing")
    assert not aloha_hdf5.detect(tmp_path) and not aloha_hdf5.detect(tmp_path / "nowhere")
    with h5py.File(tmp_path / "episode_1.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((2, 1))
    assert not aloha_hdf5.detect(tmp_path / "episode_1.hdf5")
    with pytest.raises(DatasetError, match=r"no file that is called episode_<number>\.hdf5"):
        aloha_hdf5.open_source(tmp_path.parent, ConvertOptions())


def colours_as_stored(monkeypatch) -> None:
    monkeypatch.setattr(aloha_hdf5, "swapped", lambda image: image)


def one_step_late(monkeypatch) -> None:
    blocks = aloha_hdf5._blocks
    monkeypatch.setattr(aloha_hdf5, "_blocks", lambda item: ((k, np.roll(rows, 1, axis=0)) for k, rows in blocks(item)))


@pytest.mark.parametrize("mistake", [colours_as_stored, one_step_late])
def test_the_second_reader_sees_a_mistake_of_the_first(folder, tmp_path, monkeypatch, mistake):
    write(folder / "episode_0.hdf5", 0, compress=True)
    mistake(monkeypatch)
    with pytest.raises(DatasetError, match=r"step 0 of 'observation.images.cam_\w+' is not the picture that"):
        convert_dataset(folder, tmp_path / "out.zarr", ConvertOptions())
