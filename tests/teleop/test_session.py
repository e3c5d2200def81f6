"""The loop: order, time stamps, events, pauses, late ticks."""

from __future__ import annotations

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature
from robolearn.hardware.input.protocol import Event, Motion
from robolearn.teleop.session import TeleopSession
from robolearn.teleop.sink import EpisodeSink
from robolearn.teleop.target import SimTarget

DOWN = Motion(np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.0]))
SAVE = Motion(events=(Event.SAVE,))
CLUTCH = Motion(events=(Event.CLUTCH,))


class Kept(EpisodeSink):
    def __init__(self) -> None:
        self.times, self.values, self.states = [], [], []

    def step(self, time_s, values, sim_state):
        self.times.append(time_s)
        self.values.append(values)
        self.states.append(sim_state)


def run(env, device, clock=None, init_state=3, **options):
    kept = Kept()
    session = TeleopSession(SimTarget(env), device, clock or VirtualClock(100.0), 20.0, kept, **options)
    return session.run_episode(init_state), kept


def test_each_step_holds_an_observation_and_the_action_given_in_it(point_env, played):
    episode, kept = run(point_env, played([DOWN] * 4 + [SAVE]))
    heights = [v["observation.state"][2] for v in kept.values]
    targets = [v["action"][2] for v in kept.values]
    assert heights == pytest.approx([0.30, 0.29, 0.28, 0.27])
    assert targets == pytest.approx([0.29, 0.28, 0.27, 0.26])
    assert [a[2] for a in point_env.actions] == targets
    assert np.array_equal(np.stack(kept.states).astype(np.float32), [v["observation.state"] for v in kept.values])
    assert (episode.ending, episode.steps, episode.init_state) == (Event.SAVE, 4, 3)
    assert point_env.init_states == [3]


def test_time_stamps_are_simulated_seconds_since_the_first_step(point_env, played):
    episode, kept = run(point_env, played([DOWN] * 5 + [SAVE]))
    assert kept.times == pytest.approx([0.0, 0.05, 0.10, 0.15, 0.20])
    assert episode.duration_s == pytest.approx(0.20)
    assert episode.rate_hz == pytest.approx(20.0)
    assert episode.late_ticks == episode.skipped_ticks == 0


def test_a_pause_holds_the_arm_and_leaves_a_gap_in_time(point_env, played):
    episode, kept = run(point_env, played([DOWN, DOWN, CLUTCH, DOWN, DOWN, CLUTCH, DOWN, SAVE]))
    # ticks 2, 3, 4 are paused: commanded, but neither moved nor recorded; tick 5 goes on
    assert kept.times == pytest.approx([0.0, 0.05, 0.25, 0.30])
    assert [a[2] for a in point_env.actions] == pytest.approx([0.29, 0.28, 0.28, 0.28, 0.28, 0.28, 0.27])
    assert np.array(episode.pauses) == pytest.approx(np.array([[0.10, 0.15]]))
    assert episode.rate_hz == pytest.approx(20.0)


def test_a_pause_that_nothing_follows_is_not_listed(point_env, played):
    episode, _ = run(point_env, played([DOWN, CLUTCH, Motion(), SAVE]))
    assert episode.pauses == []
    assert episode.steps == 1


def test_recording_by_hand_begins_with_the_first_motion(point_env, played):
    _, kept = run(point_env, played([Motion(), Motion(), DOWN, Motion(), SAVE], autonomous=False))
    assert kept.times == pytest.approx([0.0, 0.05])
    assert len(point_env.actions) == 4


def test_an_episode_without_steps_cannot_be_saved(point_env, played):
    episode, _ = run(point_env, played([SAVE, SAVE, DOWN, SAVE], autonomous=False))
    assert (episode.ending, episode.steps) == (Event.SAVE, 1)


@pytest.mark.parametrize("event", [Event.DISCARD, Event.STOP])
def test_discard_and_stop_end_the_episode(point_env, played, event):
    episode, _ = run(point_env, played([DOWN, Motion(events=(event,))]))
    assert episode.ending is event


def test_a_stop_from_outside_ends_the_episode(point_env, played):
    answers = iter([False, False, True])
    episode, kept = run(point_env, played([DOWN] * 9), should_stop=lambda: next(answers))
    assert (episode.ending, len(kept.times)) == (Event.STOP, 2)


def test_the_operators_mark_outranks_the_environment(point_env, played):
    deep = [Motion(np.array([0, 0, -1.0, 0, 0, 0]))] * 5
    reached, _ = run(point_env, played([*deep, SAVE]))
    assert (reached.success, reached.mark, reached.succeeded) == (True, None, True)
    denied, _ = run(point_env, played([*deep, Motion(events=(Event.FAILURE, Event.SAVE))]))
    assert (denied.success, denied.mark, denied.succeeded) == (True, False, False)
    praised, _ = run(point_env, played([DOWN, Motion(events=(Event.SUCCESS, Event.SAVE))]))
    assert (praised.success, praised.mark, praised.succeeded) == (False, True, True)


def test_late_ticks_are_counted_and_stamped_with_their_true_time(point_env, played):
    clock = VirtualClock()
    step = point_env.step

    def slow_third_step(action):
        if len(point_env.actions) == 2:
            clock.advance(0.12)  # ticks are due every 0.05 s
        return step(action)

    point_env.step = slow_third_step
    episode, kept = run(point_env, played([DOWN] * 5 + [SAVE]), clock=clock)
    # tick 3 was due at 0.15 and began at 0.22; the due time 0.20 passed unused
    assert kept.times == pytest.approx([0.0, 0.05, 0.10, 0.22, 0.25])
    assert (episode.late_ticks, episode.skipped_ticks) == (1, 1)


def test_the_device_is_told_the_attempt_and_the_time(point_env, played):
    device = played([DOWN, DOWN, SAVE])
    run(point_env, device, init_state=17)
    assert device.attempts == [17]
    assert device.times == pytest.approx([0.0, 0.05, 0.10])


def test_an_environment_without_a_pose_action_is_refused(point_env):
    point_env.action_feature = Feature("action", (2,), kind="action")
    with pytest.raises(LayoutError, match=r"shape \(2,\).*--env put_on_plate"):
        SimTarget(point_env)


def test_recording_has_ended_when_the_target_is_brought_to_rest(point_env, played):
    order = []
    target = SimTarget(point_env)
    target.end_episode = lambda: order.append("rest")
    recorder = Kept()
    recorder.pause = lambda: order.append("pause")
    motions = [Motion(np.array([0, 0, -0.1, 0, 0, 0])), Motion(events=(Event.SAVE,))]
    TeleopSession(target, played(motions), VirtualClock(), 20.0, recorder).run_episode(3)
    assert order == ["pause", "rest"]
