import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import CheckpointError, DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer

STATE = features([Feature("observation.state", (3,))])
DOUBLES = features([Feature("observation.state", (3,), "float64")])


@given(hnp.arrays(np.float32, (7, 3), elements=st.floats(-1000, 1000, width=32)))
def test_data_spans_minus_one_to_one_and_comes_back(array):
    normalizer = Normalizer.fit({"observation.state": array}, STATE)
    y = normalizer.normalize("observation.state", array)
    constant = np.ptp(array.astype(np.float64), axis=0) == 0
    large = np.ptp(array.astype(np.float64), axis=0) > 1
    assert not y[:, constant].any()
    assert np.allclose(y[:, large].min(axis=0), -1, atol=1e-3)
    assert np.allclose(y[:, large].max(axis=0), 1, atol=1e-3)
    assert np.allclose(normalizer.denormalize("observation.state", y)[:, large], array[:, large], atol=1e-3 * 2000)


def test_known_values():
    array = np.array([[0, 5, 2.0], [4, 5, 2.0]])
    normalizer = Normalizer.fit({"observation.state": array}, STATE)
    assert normalizer.scale["observation.state"].tolist() == [0.5, 1.0, 1.0]
    assert normalizer.offset["observation.state"].tolist() == [-1.0, -5.0, -2.0]
    assert normalizer.normalize("observation.state", np.array([1, 5, 2])).tolist() == [-0.5, 0.0, 0.0]


@given(
    st.floats(-1e12, 1e12), st.sampled_from([1.0, 1e-3, 3e4]), hnp.arrays(np.float64, (9, 3), elements=st.floats(0, 1))
)
def test_what_moves_survives_at_any_distance_from_zero(offset, width, fractions):
    fractions[:2] = [[0], [1]]
    array = offset + width * fractions
    step = float(np.spacing(abs(offset) + width))
    normalizer = Normalizer.fit({"observation.state": array}, DOUBLES)
    y = normalizer.normalize("observation.state", array)
    if width > 1000 * step:
        assert np.allclose(y, 2 * fractions - 1, atol=2e-4 + 8 * step / width)
    back = normalizer.denormalize("observation.state", y)
    assert np.allclose(back, array, rtol=0, atol=2e-4 * width + 8 * step)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="this machine has no longer floating point type")
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_beyond_double_precision_keep_their_last_counts(dtype):
    feature = Feature("observation.state", (3,), dtype)
    ticks = (np.array([0, 1, 100], dtype)[:, None] + np.full(3, 2**62 + 1, dtype)).astype(dtype)
    normalizer = Normalizer.fit({"observation.state": ticks}, features([feature]))
    y = normalizer.normalize("observation.state", ticks)
    assert np.allclose(y[:, 0], [-1, -0.98, 1], atol=1e-6)
    exact = normalizer.unshifted(feature, normalizer.shifted("observation.state", ticks))
    assert exact.dtype == dtype and (exact == ticks).all()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64", "bool"])
def test_integers_are_answered_as_integers_within_their_range(dtype):
    feature = Feature("action", (2,), dtype, kind="action")
    least, largest = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    normalizer = Normalizer.fit({"action": np.array([[0, 0], [1, 1]], dtype)}, features([feature]))
    answered = normalizer.unshifted(feature, np.array([[0.4, 0.6], [-1e30, 1e30]], np.float32))
    assert answered.dtype == dtype and answered.tolist() == [[0, 1], [least, largest]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [5e-5, 1e-9])
def test_small_units_are_learnt_like_any_other(dtype, width):
    array = width * np.array([[0, -1, 1], [1, 0, 2], [0.25, -0.75, 1.25]]).astype(dtype)
    y = Normalizer.fit({"observation.state": array}, DOUBLES).normalize("observation.state", array)
    assert np.allclose(y, [[-1] * 3, [1] * 3, [-0.5] * 3], atol=1e-6)


@pytest.mark.parametrize(
    ("array", "constant"),
    [
        (np.float32([0.3, np.nextafter(np.float32(0.3), np.float32(1))]), True),  # the last bit flickers
        (np.float32([0.3, 0.30002]), False),
        (np.float64([0.3, 0.3 + 1e-7]), False),
        (np.float32([1.7e9, 1.7e9 + 128]), True),
        (np.float64([1.7e9, 1.7e9 + 128]), False),
        (np.float64([0, 1e-17]), True),
        (np.int64([2**60, 2**60 + 1]), False),
        (np.float32([0.025, 0.0250001]), False),  # 54 steps
        (np.float32([0.025, 0.02500005]), True),  # 27 steps
        (np.float16([1, 1.002]), True),
        (np.float16([1, 1.006]), False),
        (np.array([False, True]), False),
    ],
)
def test_whether_something_moves_is_judged_by_what_its_dtype_resolves(array, constant):
    feature = Feature("observation.state", (1,), array.dtype.name)
    y = Normalizer.fit({"observation.state": array[:, None]}, features([feature])).normalize(
        "observation.state", array[:, None]
    )
    assert np.ptp(y) < 1e-3 if constant else np.allclose(y.ravel(), [-1, 1], atol=1e-5)


def test_a_constant_far_from_zero_is_told_from_what_differs_from_it():
    normalizer = Normalizer.fit({"observation.state": np.full((4, 3), 4.5e6)}, DOUBLES)
    assert normalizer.normalize("observation.state", np.full(3, 4.5e6 + 0.3)) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "number"),
    [
        ("float32", 0.3), ("float64", 0.1), ("float64", 4.5e6 + 0.1), ("float16", 0.7), ("int64", 2**52 + 1),
        ("uint8", 255), ("bool", True),
    ],
)  # fmt: skip
def test_what_stood_still_is_answered_as_it_was_whatever_noise_there_is(tmp_path, dtype, number):
    feature = Feature("action", (3,), dtype, kind="action", names=("x", "rot6d_0", "moves"))
    array = np.full((4, 3), number, dtype)
    array[:2, 2] = 0
    Normalizer.fit({"action": array}, features([feature])).save(tmp_path / "n.safetensors")
    normalizer = Normalizer.load(tmp_path / "n.safetensors")
    noise = np.random.default_rng(0).uniform(-5, 5, (6, 3)).astype(np.float32)
    answered = normalizer.unshifted(feature, noise)
    assert (answered[:, :2] == array[:, :2].max()).all()
    moving = Normalizer(normalizer.scale, normalizer.offset, normalizer.shift).unshifted(feature, noise)
    assert (answered[:, 2] == moving[:, 2]).all()


def test_a_number_that_is_none_is_not_hidden_by_what_stood_still():
    feature = Feature("action", (1,), kind="action")
    normalizer = Normalizer.fit({"action": np.ones((3, 1))}, features([feature]))
    assert np.isnan(normalizer.unshifted(feature, np.float32([[np.nan]]))).all()


def test_numbers_that_float32_does_not_reach_are_refused():
    with pytest.raises(DatasetError, match="1e\\+300; training computes in float32, expected numbers of at most 1e"):
        Normalizer.fit({"observation.state": np.array([[0, 0, 0], [0, 0, 1e300]])}, DOUBLES)


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


def test_rotations_of_two_arms_are_left_alone_too():
    layout = ActionLayout((Part("pose", arm="left"), Part("joints", ("rot6d_0",), arm="right")))
    feature = Feature("action", (10,), kind="action", layout=layout)
    low, high = np.zeros(10), np.array([2, 2, 2, *[0.5] * 6, 2.0])
    normalizer = Normalizer.fit({"action": np.stack([low, high])}, features([feature]))
    np.testing.assert_allclose(normalizer.normalize("action", high), [1, 1, 1, *[0.5] * 6, 1])


def test_saved_and_loaded_is_the_same(tmp_path):
    normalizer = Normalizer.fit({"observation.state": np.random.default_rng(0).normal(size=(9, 3))}, STATE)
    normalizer.save(tmp_path / "n.safetensors")
    loaded = Normalizer.load(tmp_path / "n.safetensors")
    assert (loaded.scale["observation.state"] == normalizer.scale["observation.state"]).all()
    assert (loaded.offset["observation.state"] == normalizer.offset["observation.state"]).all()


def test_a_shift_is_saved_in_double_precision_and_only_where_there_is_one(tmp_path):
    from safetensors.numpy import load_file

    both = features([Feature("observation.state", (3,), "float64"), Feature("action", (1,))])
    arrays = {"observation.state": 4.5e6 + np.linspace(-0.1, 0.2, 12).reshape(4, 3), "action": np.eye(4, 1)}
    normalizer = Normalizer.fit(arrays, both)
    normalizer.save(tmp_path / "n.safetensors")
    loaded, name = Normalizer.load(tmp_path / "n.safetensors"), "observation.state"
    assert loaded.shift.keys() == {name} and (loaded.shift[name] == normalizer.shift[name]).all()
    assert load_file(tmp_path / "n.safetensors").keys().isdisjoint({"action.shift", "action.still", f"{name}.still"})
    assert (loaded.normalize(name, arrays[name]) == normalizer.normalize(name, arrays[name])).all()


def test_a_file_without_shifts_as_older_versions_wrote_it_gives_their_numbers(tmp_path):
    from safetensors.numpy import save_file

    scale, offset = np.float32([2.0, 1.0, 400.0]), np.float32([-9e6, -5.0, 3.0])
    save_file({"observation.state.scale": scale, "observation.state.offset": offset}, tmp_path / "n.safetensors")
    x = np.array([4.5e6 + 0.3, 5.00001, 1e-5])
    found = Normalizer.load(tmp_path / "n.safetensors").normalize("observation.state", x)
    assert found.dtype == np.float32 and (found == x.astype(np.float32) * scale + offset).all()


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
