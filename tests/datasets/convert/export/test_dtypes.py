"""Every number that our format holds arrives in every other format as it was, or is refused by name and value."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robolearn.core.errors import FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import EXPORTERS, export_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

pytest.importorskip("pyarrow")
pytest.importorskip("av")
pytest.importorskip("h5py")

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("bool", *WHOLE, "float16", "float32", "float64")
NAMES = ("observation.x", "next.reward", "next.done", "action")
LEROBOT_LARGEST = 2**63 - 1


def write(path: Path, name: str, rows: np.ndarray) -> Path:
    """A dataset of one episode whose feature `name` holds `rows`."""
    described = [Feature(name, rows.shape[1:], rows.dtype.name, "action" if name == "action" else "state")]
    values = {name: rows}
    if name != "action":
        described.append(Feature("action", (1,), kind="action"))
        values["action"] = np.zeros((len(rows), 1), np.float32)
    with DatasetWriter.create(path, features(described), fps=10, durable=False) as writer:
        writer.write_episode(EpisodeData(np.arange(len(rows)) / 10, values))
    return path


def holds(format: str, name: str, rows: np.ndarray) -> bool:
    """Whether the format's own types hold the numbers, by Python's arithmetic."""
    numbers = [value.item() for value in rows.ravel()]
    flat = rows.shape[1:] in ((), (1,))
    if format.startswith("lerobot"):
        return all(isinstance(n, float) or n <= LEROBOT_LARGEST for n in numbers)
    if format == "robomimic_hdf5" and flat and name == "next.reward":
        return all(isinstance(n, float | bool) or abs(n) <= 2**53 for n in numbers)
    if format == "robomimic_hdf5" and flat and name == "next.done":
        return all(n == int(n) and -(2**63) <= n < 2**63 for n in numbers)
    return True


@st.composite
def samples(draw):
    """(Feature name, `(T, *shape)` of any type that our format has, its extremes included)."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    name = draw(st.sampled_from(NAMES))
    shapes = st.sampled_from([(1,), (2,)]) if name == "action" else st.sampled_from([(), (1,), (2,), (2, 2)])
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype) if dtype.kind == "f" else None
    plain = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    elements = plain if limits is None else st.sampled_from([limits.min, limits.max, dtype.type(0)]) | plain
    return name, draw(arrays.arrays(dtype, (draw(st.integers(1, 3)), *draw(shapes)), elements=elements))


@pytest.mark.slow
@pytest.mark.parametrize("format", EXPORTERS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(sample=samples())
def test_numbers_survive_or_are_refused(tmp_path_factory, format, sample):
    name, rows = sample
    folder = tmp_path_factory.mktemp("dtype")
    before = write(folder / "before.zarr", name, rows)
    if not holds(format, name, rows):
        with pytest.raises(FeatureError) as refused:
            export_dataset(before, folder / "there", format, ExportOptions(video="none"))
        assert f"{name!r} holds " in str(refused.value) and "robolearn dataset drop" in str(refused.value)
        assert not (folder / "there").exists() and not (folder / "there.unfinished").exists()
        return
    there = export_dataset(before, folder / "there", format, ExportOptions(video="none")).output
    convert_dataset(there, folder / "after.zarr", ConvertOptions())
    after = Dataset(folder / "after.zarr").array(name)
    assert after.dtype == rows.dtype and np.array_equal(after, rows)


@pytest.mark.parametrize(
    ("format", "name", "value", "limit"),
    [
        ("lerobot_v3", "observation.x", np.uint64(2**63), "whole numbers up to 9223372036854775807"),
        ("lerobot_v2", "observation.x", np.uint64(2**63), "whole numbers up to 9223372036854775807"),
        ("robomimic_hdf5", "next.reward", np.int64(2**53 + 1), "robomimic's 'rewards' are float64"),
        ("robomimic_hdf5", "next.done", np.float32(0.5), "robomimic's 'dones' are int64"),
    ],
)
def test_the_refusal_names_feature_value_and_place(tmp_path, format, name, value, limit):
    rows = np.array([0, 1, value], value.dtype)
    with pytest.raises(FeatureError) as refused:
        export_dataset(write(tmp_path / "a.zarr", name, rows), tmp_path / "out", format)
    said = str(refused.value)
    assert limit in said and f"{name!r} holds {value} at step 2 of episode 0" in said and "\n" not in said


def test_dones_that_were_changed_since_the_export_are_not_narrowed(tmp_path):
    import h5py

    from robolearn.core.errors import DatasetError

    there = export_dataset(
        write(tmp_path / "a.zarr", "next.done", np.array([False, True])), tmp_path / "there.hdf5", "robomimic_hdf5"
    ).output
    with h5py.File(there, "a") as file:
        file["data/demo_0/dones"][0] = 2
    with pytest.raises(DatasetError, match=r"dones holds numbers that are not bool, as next.done was"):
        convert_dataset(there, tmp_path / "back.zarr", ConvertOptions())
