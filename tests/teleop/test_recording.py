"""Which episodes are kept, with what said about them; going on with a dataset; signals."""

from __future__ import annotations

import io

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError, DeviceError, FeatureError, RobolearnError
from robolearn.core.feature import Feature
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.tools.start_states import FIRST_RECORDED_STATE
from robolearn.datasets.write.journal import find_journals
from robolearn.hardware.input.protocol import Event, Motion
from robolearn.teleop.dataset import check_dataset_path, open_writer
from robolearn.teleop.recording import RecordingSession
from robolearn.teleop.sink import StepSink
from robolearn.teleop.status import PlainStatus
from robolearn.teleop.target import SimTarget

DOWN = Motion(np.array([0.0, 0.0, -1.0, 0.0, 0.0, 0.0]))
SIDE = Motion(np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]))
SAVE = Motion(events=(Event.SAVE,))
DISCARD = Motion(events=(Event.DISCARD,))
STOP = Motion(events=(Event.STOP,))
REACH = [DOWN] * 5 + [SAVE]  # five steps of 5 cm take the TCP from 0.3 m to below 0.1 m: success


class Scripts:
    """Plays another list of motions in each episode."""

    name = "played"

    def __init__(self, *episodes: list[Motion], autonomous: bool = True):
        self.episodes, self.autonomous = list(episodes), autonomous

    def describe(self) -> str:
        return "played"

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def start_episode(self, attempt: int) -> None:
        self._left = list(self.episodes.pop(0))

    def observe(self, observation, time_s) -> None: ...

    def read(self) -> Motion:
        return self._left.pop(0) if self._left else Motion()


def record(path, env, device, number, **options):
    target = SimTarget(env)
    log = io.StringIO()
    with open_writer(path, target, 20.0, {}) as writer:
        session = RecordingSession(
            target, device, VirtualClock(), 20.0, StepSink(writer), path, PlainStatus(log), **options
        )
        summary = session.run(number)
    return summary, log.getvalue()


def test_episodes_are_stored_step_by_step_with_what_is_known_about_them(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    summary, log = record(path, point_env, Scripts(REACH, REACH), 2, task="reach down", seed=7)
    dataset = Dataset(path)
    assert dataset.episode_ends.tolist() == [5, 10]
    assert dataset.array("observation.state")[:5, 2] == pytest.approx([0.3, 0.25, 0.2, 0.15, 0.1], abs=1e-6)
    assert dataset.array("action")[:5, 2] == pytest.approx([0.25, 0.2, 0.15, 0.1, 0.05], abs=1e-6)
    assert dataset.timestamps[:5] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert np.array_equal(dataset.sim_states(1).astype(np.float32), dataset.array("observation.state")[5:])
    first, second = dataset.episodes
    expected = {
        "task": "reach down", "success": True, "success_env": True, "success_operator": None, "operator": "played",
        "seed": 7, "init_state": FIRST_RECORDED_STATE, "clock": "simulated", "late_ticks": 0, "skipped_ticks": 0,
        "rate_hz": 20.0, "pauses": [],
    }  # fmt: skip
    assert {key: first[key] for key in expected} == expected
    assert first["started_at"] and first["software"]["versions"]["numpy"] == np.__version__
    assert second["init_state"] == FIRST_RECORDED_STATE + 1
    assert (summary.recorded, summary.steps, summary.total_episodes, summary.stopped) == (2, 10, 2, None)
    assert summary.rate_hz == pytest.approx(20.0)
    assert "episode 2/2 saved: 5 steps" in log


def test_a_discarded_episode_is_done_again_from_a_new_state(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    summary, log = record(path, point_env, Scripts([DOWN, DISCARD], REACH, autonomous=False), 1)
    assert (summary.recorded, summary.discarded, summary.failed) == (1, 1, 0)
    assert Dataset(path).episodes[0]["init_state"] == FIRST_RECORDED_STATE + 1
    assert "discarded; doing it again" in log


def test_what_an_autonomous_operator_misses_is_not_kept(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    summary, log = record(path, point_env, Scripts([SIDE, SAVE], REACH), 1)
    assert (summary.recorded, summary.discarded, summary.failed) == (1, 0, 1)
    assert Dataset(path).num_episodes == 1
    assert "missed the task; doing it again" in log


def test_a_persons_failure_is_kept_and_labelled(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    missed = [SIDE, Motion(events=(Event.FAILURE, Event.SAVE))]
    record(path, point_env, Scripts(missed, REACH, autonomous=False), 2)
    assert [record["success"] for record in Dataset(path).episodes] == [False, True]


def test_an_episode_that_a_failure_cuts_short_keeps_what_was_known_about_it(tmp_path, point_env):
    class Failing(Scripts):
        def read(self) -> Motion:
            if len(self._left) == 2:
                raise DeviceError("The operator has left.")
            return super().read()

    path = tmp_path / "a.zarr"
    with pytest.raises(DeviceError):
        record(path, point_env, Failing([DOWN] * 5), 1, task="reach down", seed=7)
    (journal,) = find_journals(path / "pending")
    known = {"task": "reach down", "operator": "played", "seed": 7, "init_state": FIRST_RECORDED_STATE}
    found = read_journal(journal).data
    assert len(found.timestamps) == 3 and {key: found.record[key] for key in known} == known


def test_an_operator_that_always_fails_does_not_try_for_ever(tmp_path, point_env):
    with pytest.raises(RobolearnError, match=r"failed 20 times in a row.*1 episodes are saved"):
        record(tmp_path / "a.zarr", point_env, Scripts(REACH, *[[SIDE, SAVE]] * 20), 5)
    assert Dataset(tmp_path / "a.zarr").num_episodes == 1


def test_stopping_drops_only_the_episode_in_progress(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    summary, log = record(path, point_env, Scripts(REACH, [DOWN, STOP], autonomous=False), 5)
    assert (summary.recorded, summary.total_episodes, summary.stopped) == (1, 1, "operator")
    assert Dataset(path).num_episodes == 1
    assert "dropped after 1 steps" in log
    assert find_journals(path / "pending") == []


def test_going_on_records_that_many_more_from_fresh_states(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    record(path, point_env, Scripts([SIDE, SAVE], REACH, REACH), 2)
    summary, _ = record(path, point_env, Scripts(REACH), 1)
    assert (summary.recorded, summary.total_episodes) == (1, 3)
    # 10000 was used by the attempt that failed
    assert [record["init_state"] for record in Dataset(path).episodes] == [10_001, 10_002, 10_003]


def test_going_on_with_other_features_says_what_differs(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    record(path, point_env, Scripts(REACH), 1)
    state = point_env.observation_features["observation.state"]
    front = Feature("observation.images.front", (96, 96, 3), "uint8", "image")
    point_env.observation_features = {state.name: state, front.name: front}
    with pytest.raises(FeatureError, match=r"does not hold 'observation.images.front'.*leave out --camera front"):
        open_writer(path, SimTarget(point_env), 20.0, {})
    point_env.observation_features = {state.name: state, "extra": Feature("extra", (2,))}
    with pytest.raises(FeatureError, match=r"does not hold 'extra'.*same --env"):
        open_writer(path, SimTarget(point_env), 20.0, {})
    point_env.observation_features = {state.name: state}
    with pytest.raises(DatasetError, match=r"at 20 steps per second, found 10; use --fps 20"):
        open_writer(path, SimTarget(point_env), 10.0, {})
    open_writer(path, SimTarget(point_env), 20.0, {}).close()  # and the lock was released each time


def test_an_existing_dataset_is_refused_with_the_command_that_goes_on(tmp_path, point_env):
    path = tmp_path / "a.zarr"
    record(path, point_env, Scripts(REACH), 1)
    with pytest.raises(DatasetError, match=r"with 1 episodes.*robolearn record --x 1 --resume"):
        check_dataset_path(path, resume=False, command="robolearn record --x 1")
    check_dataset_path(path, resume=True, command="")
    with pytest.raises(DatasetError, match="leave out --resume"):
        check_dataset_path(tmp_path / "b.zarr", resume=True, command="")
