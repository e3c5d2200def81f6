"""Ours -> theirs -> ours loses nothing but what a video codec loses."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.format import layout
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter

pytest.importorskip("pyarrow")
pytest.importorskip("av")
pytest.importorskip("h5py")

ROUTES = {
    "lerobot": ("lerobot_v3", "there", ExportOptions(video="none")),
    "lerobot_v2": ("lerobot_v2", "there", ExportOptions(video="none")),
    "robomimic": ("robomimic_hdf5", "there.hdf5", ExportOptions(compress=True)),
    "zarr": ("diffusion_policy_zarr", "there.zarr", ExportOptions()),
    "zip": ("diffusion_policy_zarr", "there.zarr.zip", ExportOptions()),
}


def there_and_back(dataset: Path, folder: Path, route: str) -> Dataset:
    name, file, options = ROUTES[route]
    there = export_dataset(dataset, folder / file, name, options).output
    convert_dataset(there, folder / "back.zarr", ConvertOptions(image_codec="png"))
    return Dataset(folder / "back.zarr")


def records(dataset: Dataset) -> list[dict]:
    return [{k: v for k, v in record.items() if k not in layout.RESERVED} for record in dataset.episodes]


@pytest.mark.parametrize("route", ROUTES)
def test_values_times_labels_and_masks_come_back(rich_dataset, tmp_path, route):
    edit_episodes(rich_dataset, [2], {"task": "an edited task"})
    set_mask(rich_dataset, "train", [0, 2])
    before, after = Dataset(rich_dataset), there_and_back(rich_dataset, tmp_path, route)
    assert after.features == before.features and list(after.features) == list(before.features)
    assert after.fps == before.fps
    assert np.array_equal(after.timestamps, before.timestamps)
    assert np.array_equal(after.episode_ends, before.episode_ends)
    for name, feature in before.features.items():
        if layout.is_encoded(feature):
            for step in range(before.num_steps):
                assert np.array_equal(after.image(name, step), before.image(name, step)), (name, step)
        else:
            assert np.array_equal(after.array(name), before.array(name)), name
    assert records(after) == records(before)
    assert np.array_equal(after.mask("train"), before.mask("train"))
    assert after.attributes["metadata"]["robot"] == "arm"


def test_masks_mean_the_same_episodes_when_not_all_of_an_export_came_along(rich_dataset, tmp_path):
    import pyarrow.compute as pc
    from pyarrow import parquet

    set_mask(rich_dataset, "late", [1, 2])
    there = export_dataset(rich_dataset, tmp_path / "there", "lerobot_v3", ExportOptions(video="none")).output
    file = next((there / "data").rglob("*.parquet"))
    table = parquet.read_table(file)
    parquet.write_table(table.filter(pc.greater(table["episode_index"], 0)), file)
    convert_dataset(there, tmp_path / "back.zarr", ConvertOptions())
    after = Dataset(tmp_path / "back.zarr")
    assert after.num_episodes == 2
    assert after.mask("late").tolist() == [True, True]


def test_filter_keys_that_were_changed_since_the_export_are_those_of_the_file(rich_dataset, tmp_path):
    import h5py

    set_mask(rich_dataset, "validation", [1, 2])
    there = export_dataset(rich_dataset, tmp_path / "there.hdf5", "robomimic_hdf5", ExportOptions()).output
    with h5py.File(there, "a") as file:
        file["mask/hard cases"] = np.array([b"demo_1"])
        del file["data/demo_0"], file["mask/valid"]
        file["mask/valid"] = np.array([b"demo_2"])
    report = convert_dataset(there, tmp_path / "back.zarr", ConvertOptions())
    masks = {name: np.flatnonzero(mask).tolist() for name, mask in Dataset(tmp_path / "back.zarr").masks.items()}
    assert masks["validation"] == [1] and masks["hard_cases"] == [0]
    assert "mask 'hard cases' is called 'hard_cases'" in report.notes


def test_simulator_states_come_back_from_robomimic(rich_dataset_to_read, tmp_path):
    before, after = Dataset(rich_dataset_to_read), there_and_back(rich_dataset_to_read, tmp_path, "robomimic")
    for episode in range(3):
        assert np.array_equal(after.sim_states(episode), before.sim_states(episode))
        assert after.sim_model(episode) == before.sim_model(episode)


@pytest.mark.parametrize(("codec", "floor_db"), [("av1", 28), ("h264", 32)])
def test_a_video_loses_what_its_codec_loses_and_nothing_else(rich_dataset_to_read, tmp_path, codec, floor_db):
    there = export_dataset(rich_dataset_to_read, tmp_path / "there", "lerobot_v3", ExportOptions(video=codec)).output
    convert_dataset(there, tmp_path / "back.zarr", ConvertOptions(image_codec="png"))
    before, after = Dataset(rich_dataset_to_read), Dataset(tmp_path / "back.zarr")
    assert np.array_equal(after.timestamps, before.timestamps)
    assert np.array_equal(after.array("observation.force"), before.array("observation.force"))
    for step in range(before.num_steps):
        error = after.image("observation.images.front", step).astype(float)
        error -= before.image("observation.images.front", step)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > floor_db
        assert np.array_equal(
            after.image("observation.depth.front", step), before.image("observation.depth.front", step)
        )


DTYPES = ("float32", "float64", "int32", "uint8", "bool")


@st.composite
def worlds(draw):
    """Features of any dtype and up to two axes, and episodes with times of any spacing."""
    found = [Feature("action", (draw(st.integers(1, 3)),), kind="action")]
    for number, dtype in enumerate(draw(st.lists(st.sampled_from(DTYPES), max_size=3))):
        shape = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
        found.append(Feature(f"observation.f{number}", shape, dtype))
    episodes = []
    for length in draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)):
        gaps = draw(arrays.arrays(np.float64, length, elements=st.floats(1e-3, 1e3)))
        values = {
            feature.name: draw(
                arrays.arrays(
                    feature.dtype, (length, *feature.shape),
                    elements={"allow_nan": False, "allow_infinity": False} if "float" in feature.dtype else None,
                )
            )
            for feature in found
        }  # fmt: skip
        episodes.append(EpisodeData(np.cumsum(gaps), values, record={"task": draw(st.text(max_size=5))}))
    return features(found), episodes


@pytest.mark.slow
@pytest.mark.parametrize("route", ["lerobot", "lerobot_v2", "robomimic", "zarr"])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds())
def test_any_low_dimensional_episodes_come_back(tmp_path_factory, route, world):
    described, episodes = world
    folder = tmp_path_factory.mktemp("trip")
    with DatasetWriter.create(folder / "before.zarr", described, fps=7.5, durable=False) as writer:
        for episode in episodes:
            writer.write_episode(episode)
    before, after = Dataset(folder / "before.zarr"), there_and_back(folder / "before.zarr", folder, route)
    assert after.features == before.features
    assert np.array_equal(after.timestamps, before.timestamps)
    assert np.array_equal(after.episode_ends, before.episode_ends)
    for name in described:
        assert after.array(name).dtype == before.array(name).dtype
        assert np.array_equal(after.array(name), before.array(name)), name
    assert [record["task"] for record in after.episodes] == [record["task"] for record in before.episodes]
