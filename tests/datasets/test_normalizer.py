import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robolearn.core.errors import CheckpointError, DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.normalizer import Normalizer

STATE = features([Feature("observation.state", (3,))])


@given(hnp.arrays(np.float32, (7, 3), elements=st.floats(-1000, 1000, width=32)))
def test_data_spans_minus_one_to_one_and_comes_back(array):
    normalizer = Normalizer.fit({"observation.state": array}, STATE)
    y = normalizer.normalize("observation.state", array)
    constant = np.ptp(array.astype(np.float64), axis=0) < 1e-4
    large = np.ptp(array.astype(np.float64), axis=0) > 1
    assert np.abs(y[:, constant]).max(initial=0) < 1.1e-4
    assert np.allclose(y[:, large].min(axis=0), -1, atol=1e-3)
    assert np.allclose(y[:, large].max(axis=0), 1, atol=1e-3)
    assert np.allclose(normalizer.denormalize("observation.state", y)[:, large], array[:, large], atol=1e-3 * 2000)


def test_known_values():
    array = np.array([[0, 5, 2.0], [4, 5, 2.00005]])
    normalizer = Normalizer.fit({"observation.state": array}, STATE)
    assert normalizer.scale["observation.state"].tolist() == [0.5, 1.0, 1.0]
    assert normalizer.offset["observation.state"].tolist() == [-1.0, -5.0, -2.0]
    assert normalizer.normalize("observation.state", np.array([1, 5, 2])).tolist() == [-0.5, 0.0, 0.0]


def test_rotations_are_left_alone_and_images_have_fixed_scale():
    both = features(
        [
            Feature("action", (3,), names=("x", "rot6d_0", "rot6d_1"), kind="action"),
            Feature("observation.images.front", (4, 4, 3), "uint8", "image"),
        ]
    )
    normalizer = Normalizer.fit({"action": np.array([[0, 0.5, 1], [10, 0.9, 1.0]])}, both)
    assert np.allclose(normalizer.normalize("action", np.array([10, 0.7, 1.0])), [1, 0.7, 1.0])
    pixels = np.array([0, 255], np.uint8).reshape(1, 2, 1)
    assert np.allclose(normalizer.normalize("observation.images.front", pixels).ravel(), [-1, 1])


def test_saved_and_loaded_is_the_same(tmp_path):
    normalizer = Normalizer.fit({"observation.state": np.random.default_rng(0).normal(size=(9, 3))}, STATE)
    normalizer.save(tmp_path / "n.safetensors")
    loaded = Normalizer.load(tmp_path / "n.safetensors")
    assert (loaded.scale["observation.state"] == normalizer.scale["observation.state"]).all()
    assert (loaded.offset["observation.state"] == normalizer.offset["observation.state"]).all()


def test_bad_files_and_names_are_explained(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(CheckpointError, match="missing"):
        Normalizer.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        Normalizer.load(tmp_path / "bad.safetensors")
    save_file({"action.scale": np.ones(2, np.float32)}, str(tmp_path / "half.safetensors"))
    with pytest.raises(CheckpointError, match=r"lacks 'action\.offset'"):
        Normalizer.load(tmp_path / "half.safetensors")
    normalizer = Normalizer.fit({"observation.state": np.zeros((2, 3))}, STATE)
    with pytest.raises(FeatureError, match=r"'observation\.stat'.*Did you mean 'observation\.state'"):
        normalizer.normalize("observation.stat", np.zeros(3))


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.zeros((4, 2)), np.full((4, 3), np.nan)])
def test_arrays_that_cannot_be_fitted_are_refused(array):
    with pytest.raises(DatasetError, match=r"observation\.state"):
        Normalizer.fit({"observation.state": array}, STATE)
