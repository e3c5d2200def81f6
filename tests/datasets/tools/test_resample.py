from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import ConfigError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.resample import held_steps, resample
from robolearn.datasets.write.writer import DatasetWriter


def test_the_table_in_the_docstring():
    rows, times = held_steps(np.array([0.0, 0.103, 0.2, 0.5]), 10, 20)
    assert rows.tolist() == [0, 0, 1, 1, 2, 2, 2, 2, 3]
    assert times == pytest.approx([0.0, 0.05, 0.103, 0.15, 0.2, 0.25, 0.3, 0.35, 0.5])
    table = [
        line.split() for line in (held_steps.__doc__ or "").splitlines() if line.strip().startswith(("shows", "at"))
    ]
    assert [int(cell) for cell in table[0][1:] if cell != "-"] == rows.tolist()
    assert [float(cell) for cell in table[1][1:]] == pytest.approx(times)


@given(st.integers(1, 200), st.sampled_from([3.0, 10.0, 30.0, 59.94]), st.floats(0, 100))
def test_the_same_rate_changes_nothing(steps, fps, start):
    timestamps = start + np.arange(steps) / fps
    rows, times = held_steps(timestamps, fps, fps)
    assert rows.tolist() == list(range(steps))
    assert np.array_equal(times, timestamps)


@given(st.integers(1, 200), st.integers(2, 6), st.sampled_from([10.0, 30.0, 59.94]))
def test_a_fraction_of_the_rate_takes_every_nth_step(steps, factor, fps):
    timestamps = np.arange(steps) / fps
    rows, times = held_steps(timestamps, fps, fps / factor)
    assert rows.tolist() == list(range(0, steps, factor))
    assert np.array_equal(times, timestamps[::factor])


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=40), st.floats(2, 50), st.floats(2, 50))
def test_nothing_comes_from_the_future_and_times_rise(gaps, old_fps, fps):
    timestamps = np.cumsum(gaps)
    rows, times = held_steps(timestamps, old_fps, fps)
    assert (np.diff(times) > 0).all()
    assert (np.diff(rows) >= 0).all()
    assert (timestamps[rows] <= times).all()
    assert (times - timestamps[rows] <= 1.5 * max(1 / fps, 1 / old_fps) + 1e-6).all()


def test_a_jittering_loop_loses_no_step_at_its_own_rate():
    timestamps = np.arange(100) / 10 + np.random.default_rng(0).uniform(-0.02, 0.02, 100)
    timestamps[0] = 0
    rows, times = held_steps(timestamps, 10, 10)
    assert rows.tolist() == list(range(100))
    assert np.array_equal(times, timestamps)


def test_resampling_to_half_the_rate_keeps_every_second_step(make_dataset, tmp_path):
    parent = Dataset(make_dataset(5, 4, sim=True))
    report = resample(parent, tmp_path / "half.zarr", 5)
    made = Dataset(report.output)
    camera = "observation.images.front"
    chosen = [0, 2, 4, 5, 7]
    assert made.fps == 5
    assert made.episode_ends.tolist() == [3, 5]
    for name in ("observation.state", "action"):
        assert np.array_equal(made.array(name), parent.array(name)[chosen])
    assert [made.encoded(camera, k) for k in range(5)] == [parent.encoded(camera, k) for k in chosen]
    assert np.array_equal(made.sim_states(1), parent.sim_states(1)[::2])
    assert any("action in force" in note for note in report.notes)


def test_resampling_to_the_same_rate_is_the_identity(make_dataset, tmp_path):
    parent = Dataset(make_dataset(5, 1, 4))
    report = resample(parent, tmp_path / "same.zarr", 10)
    assert Dataset(report.output).checksum() == parent.checksum()
    assert report.notes == ()


def test_the_simulated_environment_takes_actions_at_the_new_rate(rich_dataset, tmp_path):
    made = Dataset(resample(Dataset(rich_dataset), tmp_path / "half.zarr", 5).output)
    assert made.sim_env == {**Dataset(rich_dataset).sim_env, "control_hz": 5}


JOINT_STEP = ActionLayout((Part("joints", ("elbow",), reference="target"),))


@pytest.mark.parametrize("says_it", [{"names": ("delta_x",)}, {"layout": JOINT_STEP}])
def test_differences_between_steps_are_warned_of(tmp_path, says_it):
    path = tmp_path / "d.zarr"
    action = Feature("action", (1,), kind="action", rate_hz=10.0, **says_it)
    with DatasetWriter.create(path, features([action]), 10) as writer:
        writer.write_episode(EpisodeData(np.arange(3) / 10, {"action": np.ones((3, 1), np.float32)}))
    report = resample(Dataset(path), tmp_path / "up.zarr", 20)
    assert any("differences between steps; they are repeated, not rescaled" in note for note in report.notes)
    made = Dataset(report.output)
    assert made.num_steps == 5
    assert made.features["action"] == replace(action, rate_hz=20.0)


def test_streams_give_samples_that_the_old_grid_had_skipped(tmp_path):
    path = tmp_path / "s.zarr"
    found = features([Feature("force", (1,), rate_hz=40.0), Feature("button", (1,), "int32", "event")])
    nan = np.full(9, np.nan)
    rows = {
        "force": StreamRows(np.arange(9) / 40, nan, np.arange(9), np.arange(9.0)[:, None], at_step=np.array([0, 4, 8])),
        "button": StreamRows(np.zeros(0), np.zeros(0), np.zeros(0, int), np.zeros((0, 1), np.int32)),
    }
    rows["force"].values = rows["force"].values.astype(np.float32)
    with DatasetWriter.create(path, found, 10, recorded="streams") as writer:
        states = np.array([[0.0], [1.0], [2.0]])
        writer.write_episode(EpisodeData(np.arange(3) / 10, {}, streams=rows, sim_states=states))
    report = resample(Dataset(path), tmp_path / "t.zarr", 20)
    made = Dataset(report.output)
    assert made.timestamps == pytest.approx(np.arange(5) / 20)
    assert made.array("force").ravel().tolist() == [0, 2, 4, 6, 8]
    assert made.sim_states(0).ravel().tolist() == [0, 0, 1, 1, 2]
    assert made.stream("force").values.ravel().tolist() == list(range(9))
    assert made.features["force"].rate_hz == 40


def test_a_pause_stays_without_steps(tmp_path):
    found = features([Feature("force", (1,), rate_hz=20.0)])
    stamps = np.array([0.0, 0.05, 0.1, 0.8, 0.85, 0.9])  # nothing from 0.1 to 0.8 s
    force = StreamRows(stamps, np.full(6, np.nan), np.arange(6), np.arange(6, dtype=np.float32)[:, None])
    force.at_step = np.array([0, 2, 3, 5])
    with DatasetWriter.create(tmp_path / "s.zarr", found, 10, recorded="streams") as writer:
        record = {"pauses": [[0.12, 0.68]]}
        writer.write_episode(EpisodeData(np.array([0, 0.1, 0.8, 0.9]), {}, record=record, streams={"force": force}))
    made = Dataset(resample(Dataset(tmp_path / "s.zarr"), tmp_path / "t.zarr", 20).output)
    assert made.timestamps == pytest.approx(stamps)
    assert made.array("force").ravel().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("fps", "message"),
    [(0, "positive rate"), (np.nan, "positive"), (np.inf, "positive"), (1e12, "the most is")],
)
def test_a_rate_that_makes_no_sense_is_refused(make_dataset, tmp_path, fps, message):
    with pytest.raises(ConfigError, match=message):
        resample(Dataset(make_dataset(5)), tmp_path / "x.zarr", fps)
