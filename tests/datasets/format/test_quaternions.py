"""Quaternions: found by names or values, sign flips found by validate, mended by unflip without changing a rotation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.checks import validate
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.format.quaternions import Columns, Norms, flips, named_columns, steady
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.unflip import unflip
from robolearn.datasets.write.writer import DatasetWriter


def turning(steps, speed=0.05, start=0.0):
    """`(T, 4)` w, x, y, z of a steady turn about an oblique axis; its sign never flips."""
    half = start + speed * np.arange(steps)
    axis = np.array([0.6, 0.0, 0.8]) * np.cos(0.3) + np.array([0.0, np.sin(0.3), 0.0])
    return np.concatenate([np.cos(half)[:, None], np.sin(half)[:, None] * axis / np.linalg.norm(axis)], axis=1)


def made(path, episodes, feature, rate=10.0):
    with DatasetWriter.create(path, features([feature]), rate, durable=False) as writer:
        for rows in episodes:
            values = {feature.name: rows.astype(feature.dtype)}
            writer.write_episode(EpisodeData(np.arange(len(rows)) / rate, values, record={"task": "turn"}))
    return path


def told(path):
    return [(f.episode, f.step, f.message) for f in validate(path) if f.check == "quaternion"]


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("x", "y", "z", "qw", "qx", "qy", "qz"), [3]), (("qx", "qy", "qz", "qw", "grip"), [0]),
        (("l_quat_w", "l_quat_x", "l_quat_y", "l_quat_z"), [0]), (("ee.qx", "ee.qy", "ee.qz", "ee.qw"), [0]),
        (("a_qw", "b_qx", "a_qy", "a_qz"), []), (("qw", "qy", "qx", "qz"), []), (("j0", "j1", "j2", "j3"), []),
        (("lqw", "lqx", "lqy", "lqz", "rqw", "rqx", "rqy", "rqz"), [0, 4]),
    ],
)  # fmt: skip
def test_names_tell_in_both_orders(names, first):
    feature = Feature("observation.state", (len(names),), names=names)
    assert [columns.first for columns in named_columns(feature)] == first


def test_a_feature_called_quat_holds_one_for_every_four_elements():
    assert [c.first for c in named_columns(Feature("observation.robot0_eef_quat", (8,)))] == [0, 4]
    assert named_columns(Feature("observation.eef_quat", (6,))) == []


def test_a_name_is_believed_only_where_the_norm_agrees():
    norms = Norms(Feature("pose", (4,), names=("x", "y", "z", "w")))
    norms.add(np.random.default_rng(0).uniform(-1, 1, (20, 4)))
    assert norms.columns() == []


def test_a_direction_beside_a_zero_is_no_quaternion():
    angles = np.linspace(0, 3, 50)
    direction = np.stack([np.cos(angles), np.sin(angles) * 0.6, np.sin(angles) * 0.8], 1)
    norms = Norms(Feature("observation.state", (5,)))
    norms.add(np.concatenate([direction, np.zeros((50, 2))], axis=1))
    assert norms.columns() == []


def test_rows_of_a_rotation_matrix_are_no_quaternion_and_are_never_turned():
    angle, tilt = np.linspace(0.4, 2.7, 30), np.linspace(0, 0.02, 30)
    rows = np.stack([np.cos(angle), -np.sin(angle), tilt, np.sin(angle), np.cos(angle), -tilt], axis=1)
    for names, found in [(None, 1), (tuple(f"bar_rot6d_{i}" for i in range(6)), 0)]:
        norms = Norms(Feature("observation.state", (6,), names=names))
        norms.add(rows)
        assert len(norms.columns()) == found


def test_values_tell_where_no_name_does():
    rows = np.concatenate([np.random.default_rng(0).normal(size=(50, 3)), turning(50), np.ones((50, 1))], axis=1)
    norms = Norms(Feature("observation.state", (8,)))
    norms.add(rows)
    assert norms.columns() == [Columns("observation.state", 3, named=False)]


@pytest.mark.parametrize("rows", [np.eye(4)[np.arange(30) % 4], np.tile([1.0, 0, 0, 0], (30, 1))])
def test_one_hot_and_constant_vectors_have_no_flips(tmp_path, rows):
    assert told(made(tmp_path / "a.zarr", [rows], Feature("observation.state", (4,)))) == []


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.booleans())
def test_mending_undoes_any_flips_and_changes_nothing_but_signs(turned, named):
    clean = turning(len(turned))
    signs = np.where(turned, -1.0, 1.0)[:, None]
    columns = Columns("q", 0, named)
    mended = steady(clean * signs, columns)
    assert np.array_equal(mended, clean * signs[0])
    assert not flips(mended, columns).size
    assert np.array_equal(steady(clean * signs, columns, before=clean[0]), clean)


NAMED = Feature("observation.state", (7,), names=("x", "y", "z", "qx", "qy", "qz", "qw"))
PLAIN = Feature("observation.state", (7,))


@pytest.fixture(params=[NAMED, PLAIN], ids=["named", "unnamed"])
def flipped(request, tmp_path):
    """(Dataset of three episodes, the quaternions without flips): one flips twice, one lies on the other side."""
    clean = [np.roll(turning(30, start=0.1 * k), -1, axis=1) for k in range(3)]
    signs = np.ones((3, 30, 1))
    signs[1, 12:20], signs[2] = -1, -1
    position = np.random.default_rng(0).normal(size=(3, 30, 3))
    episodes = np.concatenate([position, np.stack(clean) * signs], axis=2)
    return made(tmp_path / "a.zarr", episodes, request.param), np.concatenate([position, np.stack(clean)], axis=2)


def test_validate_finds_flips_and_unflip_mends_them(flipped, tmp_path):
    path, clean = flipped
    (episode, step, message), (other, _, begins) = told(path)
    assert (episode, step, other) == (1, 12, 2)
    assert "turns its sign, 2 times in 1 episode: the same rotation" in message
    assert "begins with the other sign in 1 episode than in the first" in begins
    report = unflip(Dataset(path), tmp_path / "b.zarr")
    assert report.notes[0].endswith(": 2 of 3 episodes have other signs now")
    mended = Dataset(tmp_path / "b.zarr")
    assert (mended.array("observation.state") == clean.reshape(90, 7).astype(np.float32)).all()
    assert mended.features == Dataset(path).features
    assert told(tmp_path / "b.zarr") == []
    with pytest.raises(ConfigError, match="no quaternion flips its sign; looked at observation.state"):
        unflip(mended, tmp_path / "c.zarr")


def test_a_stream_is_mended_and_the_grid_with_it(tmp_path):
    rows = turning(20).astype(np.float32)
    rows[7:] *= -1
    feature = Feature("observation.eef_quat", (4,), rate_hz=20)
    times = np.arange(20) / 20
    stream = StreamRows(times, np.full(20, np.nan), np.arange(20), rows, at_step=np.arange(0, 20, 2))
    with DatasetWriter.create(
        tmp_path / "s.zarr", features([feature]), 10, recorded="streams", durable=False
    ) as writer:
        writer.write_episode(EpisodeData(times[::2], {}, streams={feature.name: stream}))
    unflip(Dataset(tmp_path / "s.zarr"), tmp_path / "b.zarr")
    mended = Dataset(tmp_path / "b.zarr")
    assert (mended.stream(feature.name).values == turning(20).astype(np.float32)).all()
    assert (mended.array(feature.name) == turning(20).astype(np.float32)[::2]).all()


def test_where_one_is_can_be_said_and_mistakes_are_named(tmp_path):
    rows = turning(20) * 2.0  # of no use as a rotation, but the user insists
    rows[10:] *= -1
    path = made(tmp_path / "a.zarr", [rows], Feature("observation.state", (4,)))
    with pytest.raises(ConfigError, match="no quaternion is found in observation.state; --at FEATURE=FIRST"):
        unflip(Dataset(path), tmp_path / "b.zarr")
    with pytest.raises(ConfigError, match="--at observation.state=1: it has 4 elements"):
        unflip(Dataset(path), tmp_path / "b.zarr", at={"observation.state": 1})
    with pytest.raises(FeatureError, match="Unknown vector of at least 4 floats 'observation.stat'. Did you mean"):
        unflip(Dataset(path), tmp_path / "b.zarr", names=["observation.stat"])
    unflip(Dataset(path), tmp_path / "b.zarr", at={"observation.state": 0})
    assert np.allclose(Dataset(tmp_path / "b.zarr").array("observation.state"), turning(20) * 2)


def test_a_place_that_is_given_is_looked_at_once_also_where_it_is_found(tmp_path):
    rows = turning(20)
    rows[10:] *= -1
    path = made(tmp_path / "a.zarr", [rows], Feature("observation.state", (4,)))
    unflip(Dataset(path), tmp_path / "b.zarr", at={"observation.state": 0})
    made_by = json.dumps(Dataset(tmp_path / "b.zarr").attributes)
    assert made_by.count('"first": 0') == 1
    assert np.allclose(Dataset(tmp_path / "b.zarr").array("observation.state"), turning(20))
