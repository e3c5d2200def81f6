import re
from dataclasses import replace

import numpy as np
import pytest
from scripted_world import CAPABILITIES, HOME, SPEC, ScriptedRobot, ScriptedServer, run, straight_line

from robolearn.control.loop import EpisodeLoop, EpisodeRecord, LoopOptions
from robolearn.control.safety import SafetyLimits
from robolearn.control.watchdog import State
from robolearn.core.clock import VirtualClock
from robolearn.core.errors import ConfigError, DeviceError
from robolearn.hardware.robot import Outcome

PERIOD_S = 0.005


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def lose(server: ScriptedServer, gone: bool) -> None:
    """The connection is lost, and cannot be opened again."""
    server.connected, server.gone = not gone, gone


def test_commands_go_out_at_the_declared_rate(clock):
    robot = ScriptedRobot(clock)
    record = run(robot, ScriptedServer(clock, straight_line()), 2.0)
    times, _ = robot.track()
    np.testing.assert_allclose(np.diff(times), PERIOD_S, atol=1e-9)
    assert record.duration_s == pytest.approx(2.0, abs=PERIOD_S)
    assert record.ticks.late == record.ticks.skipped == 0


@pytest.mark.parametrize("latency_s", [0.0, 0.02, 0.12])
def test_the_arm_is_where_the_actions_say_whatever_the_latency(clock, latency_s):
    """x(t) = x0 + 0.1 t: a chunk that arrives late loses actions but shifts none."""
    robot = ScriptedRobot(clock)
    record = run(robot, ScriptedServer(clock, straight_line(), latency_s), 2.0)
    for t in (1.0, 1.5, 1.9):
        assert robot.x_at(t) == pytest.approx(HOME[0] + 0.1 * t, abs=1e-3)
    assert record.safety_stops == 0
    dropped_per_chunk = int(latency_s * SPEC.control_hz + 1e-9)
    assert record.dropped_actions == dropped_per_chunk * len(record.chunks)


def test_a_chunk_is_asked_for_when_execute_actions_are_used(clock):
    server = ScriptedServer(clock, straight_line())
    run(ScriptedRobot(clock), server, 1.0, execute=4)
    np.testing.assert_allclose(server.asked, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], atol=PERIOD_S)


def test_an_unanswered_request_is_not_doubled(clock):
    server = ScriptedServer(clock, straight_line(), latency_s=0.15)
    run(ScriptedRobot(clock), server, 1.0, execute=4)
    assert np.all(np.diff(server.asked) >= 0.15)


def test_when_the_server_falls_silent_the_arm_stops_smoothly_and_goes_on_afterwards(clock):
    """Silent from 1 s to 5 s. The last chunk ends 0.4 s after its observation, then 0.1 s of gap is bridged."""
    robot = ScriptedRobot(clock)
    server = ScriptedServer(clock, straight_line(0.2), down=lambda now: 0.99 < now < 5.0)
    record = run(robot, server, 7.0)
    times, positions = robot.track()
    speed = np.diff(positions[:, 0]) / np.diff(times)
    acceleration = np.diff(speed) / PERIOD_S
    assert record.safety_stops == 1
    assert record.states[State.STOPPED] > 0
    resting = (times[:-1] > 1.5) & (times[:-1] < 3.0)
    np.testing.assert_allclose(speed[resting], 0.0, atol=1e-9)
    gone_quiet = (times[1:-1] > 0.9) & (times[1:-1] < 2.0)
    assert np.abs(acceleration[gone_quiet]).max() <= 10.0 + 1e-6  # the limiter's, not a jump
    assert len(robot.stops) == 2  # once when it had held long enough, once at the end
    assert robot.x_at(6.5) == pytest.approx(HOME[0] + 0.2 * 6.5, abs=2e-3)


def test_chunks_that_are_not_finite_are_refused_and_counted(clock):
    def policy(t_obs):
        chunk = straight_line()(t_obs)
        if 0.5 < t_obs < 2.0:
            chunk[2, 4] = np.nan
        return chunk

    robot = ScriptedRobot(clock)
    record = run(robot, ScriptedServer(clock, policy), 3.0)
    assert record.requests.failed > 0
    assert record.safety_stops == 1
    assert all(np.isfinite(c.to_action()).all() for _, c in robot.commands)
    assert robot.x_at(2.9) == pytest.approx(HOME[0] + 0.29, abs=2e-3)


def test_only_bad_chunks_never_move_the_arm(clock):
    robot = ScriptedRobot(clock)
    record = run(robot, ScriptedServer(clock, lambda t: np.full((8, 10), np.nan)), 1.0)
    _, positions = robot.track()
    assert np.ptp(positions, axis=0).max() == 0
    assert record.safety_stops == 0
    assert record.states[State.RUNNING] == 0


def test_actions_without_a_rotation_never_move_the_arm(clock):
    robot = ScriptedRobot(clock)
    record = run(robot, ScriptedServer(clock, lambda t: np.zeros((8, 10))), 1.0)
    _, positions = robot.track()
    assert np.ptp(positions, axis=0).max() == 0
    assert record.limiter.refused > 0


def test_a_server_slower_than_its_chunks_is_counted(clock):
    record = run(ScriptedRobot(clock), ScriptedServer(clock, straight_line(), latency_s=0.5), 3.0)
    assert record.late_chunks == len(record.chunks) > 0
    assert record.dropped_actions == 8 * len(record.chunks)


def test_an_episode_ends_when_the_task_has_stayed_solved(clock):
    robot = ScriptedRobot(clock, goal_x=HOME[0] + 0.1)  # reached at 1 s
    record = run(robot, ScriptedServer(clock, straight_line()), 10.0)
    assert record.success
    assert record.duration_s == pytest.approx(1.25, abs=0.05)
    assert record.score == 0.5


def test_a_task_solved_for_a_moment_only_is_no_success(clock):
    robot = ScriptedRobot(clock)
    robot.outcome = lambda: type("O", (), {"success": 0.5 < clock.now() < 0.7, "score": 0.0})()  # type: ignore[method-assign]
    assert not run(robot, ScriptedServer(clock, straight_line()), 2.0).success


def test_the_arm_is_at_rest_when_an_episode_ends(clock):
    robot = ScriptedRobot(clock)
    run(robot, ScriptedServer(clock, straight_line(0.3)), 1.0)
    _, positions = robot.track()
    last_step = np.linalg.norm(positions[-1] - positions[-2])
    assert last_step <= 3.0 * PERIOD_S**2 + 1e-9  # one tick of the braking deceleration
    assert len(robot.stops) == 1


@pytest.mark.parametrize("failure", [DeviceError("The arm has ended."), KeyboardInterrupt()])
def test_whatever_ends_an_episode_stops_the_arm(clock, failure):
    robot = ScriptedRobot(clock)

    def fail(now_s):
        if now_s > 0.5:
            raise failure

    robot.on_read = fail
    with pytest.raises(type(failure)):
        run(robot, ScriptedServer(clock, straight_line()), 2.0)
    assert len(robot.stops) == 1


def test_a_late_tick_does_not_make_the_arm_jump(clock):
    robot = ScriptedRobot(clock)
    robot.on_read = lambda now_s: clock.advance(0.3) if 0.999 < now_s < 1.001 else None
    record = run(robot, ScriptedServer(clock, straight_line(0.2)), 2.0)
    times, positions = robot.track()
    steps, passed_s = np.diff(positions[:, 0]), np.diff(times)
    assert record.ticks.skipped == 59
    assert passed_s.max() == pytest.approx(0.305)
    assert np.abs(steps).max() <= CAPABILITIES.max_speed_m_s * 4 * PERIOD_S + 1e-12
    at_once = passed_s < 1e-9
    np.testing.assert_array_equal(steps[at_once], 0.0)
    speed, passed_s = steps[~at_once] / passed_s[~at_once], passed_s[~at_once]
    assert np.abs(np.diff(speed) / passed_s[1:]).max() <= 10.0 + 1e-6  # by the time that really passed


def test_a_late_tick_while_braking_at_the_end_keeps_the_deceleration(clock):
    robot = ScriptedRobot(clock)
    robot.command = lambda command: (  # type: ignore[method-assign]
        ScriptedRobot.command(robot, command), clock.advance(0.013) if 1.02 < clock.now() < 1.03 else None
    )  # fmt: skip
    run(robot, ScriptedServer(clock, straight_line(0.3)), 1.0)
    times, positions = robot.track()
    speed, passed_s = np.diff(positions[:, 0]) / np.diff(times), np.diff(times)
    assert passed_s.max() > 0.012
    braking = times[2:] > 1.006
    assert np.abs(np.diff(speed) / passed_s[1:])[braking].max() <= 3.0 + 1e-6


def test_an_outcome_that_nothing_measures_is_neither_success_nor_failure(clock):
    robot = ScriptedRobot(clock)
    robot.outcome = Outcome  # type: ignore[method-assign]
    record = run(robot, ScriptedServer(clock, straight_line()), 1.0)
    assert (record.success, record.aborted) == (None, None)
    measured = run(ScriptedRobot(clock), ScriptedServer(clock, straight_line()), 1.0)
    assert (measured.success, measured.aborted) == (False, None)


def test_an_episode_ends_aborted_once_the_arm_has_stopped_because_the_server_is_gone(clock):
    """Gone at 1 s: the last chunk was of 0.8 s and ends at 1.2 s, 0.1 s are bridged, then the pose is held for 2 s."""
    robot, server = ScriptedRobot(clock), ScriptedServer(clock, straight_line(), down=lambda now: now > 0.99)
    robot.on_read = lambda now_s: lose(server, now_s >= 1.0)
    server.last_error = "The connection was lost."
    record = run(robot, server, 10.0)
    assert (record.success, record.aborted) == (None, "server gone: The connection was lost.")
    assert record.duration_s == pytest.approx(1.2 + 0.1 + 2.0, abs=0.1)
    assert record.states[State.RUNNING] > 200


def test_a_time_that_is_over_while_the_server_is_gone_aborts_the_episode(clock):
    robot, server = ScriptedRobot(clock), ScriptedServer(clock, straight_line(), down=lambda now: now > 0.99)
    robot.on_read = lambda now_s: lose(server, now_s >= 1.0)
    assert run(robot, server, 1.15).success is False  # still following the last chunk
    clock.advance(5.0)
    robot, server = ScriptedRobot(clock), ScriptedServer(clock, straight_line(), down=lambda now: now > 7.1)
    robot.on_read = lambda now_s: lose(server, now_s >= 7.1)
    record = run(robot, server, 2.5)
    assert (record.success, record.aborted) == (None, "server gone: the connection was lost")


def test_a_slow_policy_is_not_taken_for_a_server_that_is_gone(clock):
    """Its connection is given up every 2 s, and opens again at once: the episode is a failure like any other."""
    robot = ScriptedRobot(clock)
    server = ScriptedServer(clock, straight_line(), down=lambda now: now > 0.99)
    robot.on_read = lambda now_s: setattr(server, "connected", now_s % 2.0 < 1.9)
    record = run(robot, server, 8.0)
    assert (record.success, record.aborted) == (False, None)
    assert record.duration_s == pytest.approx(8.0, abs=0.2)


@pytest.mark.parametrize(("comes_back", "success", "aborted"), [(True, False, None), (False, None, "server gone: .*")])
def test_a_connection_lost_just_before_the_time_is_over_is_waited_for(clock, comes_back, success, aborted):
    robot = ScriptedRobot(clock)
    server = ScriptedServer(clock, straight_line(), down=lambda now: now > 0.99)

    def lost_at_two(now_s: float) -> None:
        server.connected = now_s < 1.99 or (comes_back and now_s > 2.5)
        server.gone = not comes_back and now_s > 2.5

    robot.on_read = lost_at_two
    record = run(robot, server, 2.0)
    assert record.success is success
    assert aborted is None if record.aborted is None else re.fullmatch(aborted, record.aborted)
    assert record.duration_s == pytest.approx(2.5, abs=0.02)


def test_an_answer_that_the_arm_waits_for_when_the_time_is_over_is_awaited(clock):
    server = ScriptedServer(clock, straight_line())
    robot = ScriptedRobot(clock)
    robot.on_read = lambda now_s: setattr(server, "latency_s", 0.0 if now_s < 0.9 else 1.5)
    record = run(robot, server, 2.0)
    assert (record.success, record.aborted) == (False, None)
    assert record.duration_s == pytest.approx(server.asked[-1] + 1.5, abs=0.02)
    assert server.asked[-1] < 2.0


def test_a_server_that_is_back_before_the_arm_has_stopped_aborts_nothing(clock):
    robot = ScriptedRobot(clock)
    server = ScriptedServer(clock, straight_line(), down=lambda now: 0.99 < now < 2.5)
    robot.on_read = lambda now_s: lose(server, 1.0 < now_s < 2.5)
    record = run(robot, server, 4.0)
    assert (record.success, record.aborted) == (False, None)
    assert record.safety_stops == 1


def test_a_scene_that_stands_still_aborts_the_episode_and_the_arm_comes_to_rest(clock):
    robot = ScriptedRobot(clock)
    read = robot.read

    def frozen():
        sample = read()
        return replace(sample, host_time_s=min(sample.host_time_s, 0.8))

    robot.read = frozen  # type: ignore[method-assign]
    record = run(robot, ScriptedServer(clock, straight_line()), 10.0)
    assert record.success is None
    assert record.aborted == "scene stood still: the newest observation is 1.0 s old"
    assert record.duration_s == pytest.approx(1.8, abs=0.02)
    assert len(robot.stops) == 1


@pytest.mark.parametrize(
    ("policy", "latency_s", "words"),
    [
        (
            lambda t: np.full((8, 10), np.nan),
            0.0,
            r"no usable answer: (\d+) of \1 requests failed, the last with: The server's 'actions' are not finite .*",
        ),
        (straight_line(), 0.5, r"no usable answer: all \d came too late, 0.50 s after the observation"),
        (straight_line(), 9.0, r"no usable answer: none came within 2.0 s"),
    ],
)
def test_without_any_action_that_could_be_used_an_episode_is_aborted(clock, policy, latency_s, words):
    record = run(ScriptedRobot(clock), ScriptedServer(clock, policy, latency_s), 2.0)
    assert record.success is None
    assert re.fullmatch(words, record.aborted)


def test_an_episode_that_got_only_errors_is_aborted_with_the_last_of_them(clock):
    server = ScriptedServer(clock, straight_line(), down=lambda now: True)
    robot = ScriptedRobot(clock)
    robot.on_read = lambda now_s: vars(server.counts).update(sent=3, failed=3)
    server.last_error = "The policy server reported: out of memory"
    assert run(robot, server, 1.0).aborted == (
        "no usable answer: 3 of 3 requests failed, the last with: The policy server reported: out of memory"
    )


def test_a_task_that_was_solved_without_an_action_of_the_policy_is_no_success_of_it(clock):
    server = ScriptedServer(clock, straight_line(), down=lambda now: True)
    record = run(ScriptedRobot(clock, goal_x=0.0), server, 5.0)
    assert record.success is None
    assert record.aborted == "no usable answer: none came within 0.3 s"


def test_what_was_measured_before_the_robot_failed_is_in_the_record(clock):
    robot, record = ScriptedRobot(clock), EpisodeRecord()

    def fail(now_s):
        if now_s > 0.5:
            raise DeviceError("The arm has ended.")

    robot.on_read = fail
    limits = SafetyLimits.from_capabilities(CAPABILITIES)
    loop = EpisodeLoop(robot, ScriptedServer(clock, straight_line()), SPEC, LoopOptions(), limits, clock)
    with pytest.raises(DeviceError):
        loop.run(2.0, None, record)
    assert record.duration_s == pytest.approx(0.5, abs=0.01)
    assert record.ticks.lateness_s.size > 90


def test_no_more_actions_are_executed_than_a_chunk_has(clock):
    robot, server, options = ScriptedRobot(clock), ScriptedServer(clock, straight_line()), LoopOptions(execute=9)
    with pytest.raises(ConfigError, match="--execute is 9; the policy predicts chunks of 8 actions, so give 1 to 8"):
        EpisodeLoop(robot, server, SPEC, options, SafetyLimits.from_capabilities(CAPABILITIES), clock)


def test_a_request_carries_the_action_executed_in_the_step_before(clock):
    """x(t) = x0 + 0.1 t: the action of the step from t - dt to t is where x is in the middle of it."""
    server = ScriptedServer(clock, straight_line())
    run(ScriptedRobot(clock), server, 1.0)
    assert server.executed[0] is None
    for t_obs, executed in zip(server.asked[1:], server.executed[1:], strict=True):
        assert executed.shape == (1, 10)
        assert executed[0, 0] == pytest.approx(HOME[0] + 0.1 * (t_obs - 0.5 / SPEC.control_hz), abs=1e-6)


def test_after_a_gap_no_action_is_claimed_to_have_been_executed(clock):
    server = ScriptedServer(clock, straight_line(), down=lambda now: 0.99 < now < 3.0)
    run(ScriptedRobot(clock), server, 4.0)
    unanswered = [p for t, p in zip(server.asked, server.executed, strict=True) if 1.5 < t <= 3.0]
    assert unanswered and all(executed is None for executed in unanswered)
    assert server.executed[-1] is not None


def test_each_request_carries_the_goal_of_its_episode(clock):
    robot, server, goal = ScriptedRobot(clock), ScriptedServer(clock, straight_line()), {"x": np.ones((1, 2))}
    loop = EpisodeLoop(robot, server, SPEC, LoopOptions(), SafetyLimits.from_capabilities(CAPABILITIES), clock)
    loop.run(0.2, goal)
    assert server.goals == [goal] * len(server.goals) != []
    server.goals.clear()
    loop.run(0.2)
    assert server.goals == [None] * len(server.goals) != []
