import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robolearn.control.safety import SafetyLimiter, SafetyLimits
from robolearn.core.errors import ConfigError
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.execution.command import Command
from robolearn.hardware.arms.protocol import ArmCapabilities

DT = 0.005
LIMITS = SafetyLimits((0.2, -0.4, 0.0), (0.8, 0.4, 0.5), max_speed_m_s=0.5, max_rotation_rad_s=2.0)
HOME = np.array([0.5, 0.0, 0.25])

coordinate = st.one_of(st.floats(-1.5, 1.5), st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.8, -0.4]))  # also on the borders
position = st.tuples(coordinate, coordinate, coordinate)
# a tick: of 5 ms, early or late; a leg: a target, its velocity, "stop instead", and its ticks
ticks = st.lists(st.one_of(st.just(DT), st.floats(1e-4, 0.4)), min_size=5, max_size=40)
legs = st.lists(st.tuples(position, position, st.floats(-3, 3), st.booleans(), ticks), min_size=1, max_size=5)


def pose(position=HOME, turn_rad: float = 0.0, gripper: float = 1.0) -> Command:
    return Command(np.asarray(position, float), axis_angle_to_matrix(np.array([0, 0, turn_rad])), gripper)


def limiter(limits: SafetyLimits = LIMITS) -> SafetyLimiter:
    made = SafetyLimiter(limits)
    made.reset(pose())
    return made


@settings(max_examples=40)
@given(legs)
@example([((1.5, 0.0, 0.25), (0, 0, 0), 0.0, False, [DT] * 300)])  # into a face of the box
@example([((1.5, 1.5, 1.5), (0, 0, 0), 3.0, False, [DT] * 200), ((-1.5, -1.5, -1.5), (0, 0, 0), -3.0, True, [DT] * 50)])
@example([((1.5, 0.0, 0.25), (0, 0, 0), 2.0, False, [DT] * 70 + [0.05, 0.3] + [DT] * 20)])  # late at the border
def test_box_speed_and_acceleration_hold_at_once_for_any_targets_and_ticks(legs):
    check_limits(follow(limiter(), legs))


@settings(max_examples=15)
@given(position, legs)
def test_from_anywhere_outside_the_arm_comes_in_within_the_limits_and_never_goes_further_out(start, legs):
    safe = SafetyLimiter(LIMITS, longest_step_s=0.1)
    safe.reset(pose(start))
    track = follow(safe, legs)
    check_limits(track, start)
    # and home in the end
    for _ in range(100):
        safe.limit(pose(HOME), 0.1)
    np.testing.assert_allclose(safe.commanded.position_m, HOME, atol=1e-6)


def follow(safe: SafetyLimiter, legs) -> list[tuple[float, Command, bool]]:
    """Run the legs and return for each tick its length, the command and whether it belongs to a stop."""
    track = [(DT, safe.commanded, False), (DT, safe.commanded, False)]
    for start, velocity, turn, stop, dts in legs:
        target = np.array(start)
        for dt in dts:
            target = target + np.array(velocity) * dt
            track.append((dt, safe.brake(dt) if stop else safe.limit(pose(target, turn, 2 * turn), dt), stop))
    return track


def check_limits(track: list[tuple[float, Command, bool]], start=HOME) -> None:
    """By nothing but the commands and when they were given."""
    dt = np.array([dt for dt, _, _ in track])[1:, None]
    positions = np.array([command.position_m for _, command, _ in track])
    rotations = np.array([command.rotation for _, command, _ in track])
    low, high = np.array(LIMITS.workspace_low_m), np.array(LIMITS.workspace_high_m)
    assert np.all(positions >= np.minimum(low, start)) and np.all(positions <= np.maximum(high, start))
    further_out = np.diff(np.maximum(np.maximum(low - positions, positions - high), 0.0), axis=0)
    assert further_out.max() <= 0.0
    speed = np.diff(positions, axis=0) / dt
    spin = matrix_to_axis_angle(rotations[1:] @ rotations[:-1].transpose(0, 2, 1)) / dt
    assert np.linalg.norm(speed, axis=1).max() <= LIMITS.max_speed_m_s + 1e-9
    assert np.linalg.norm(spin, axis=1).max() <= LIMITS.max_rotation_rad_s + 1e-6
    acceleration = np.linalg.norm(np.diff(speed, axis=0), axis=1) / dt[1:, 0]
    turning = np.linalg.norm(np.diff(spin, axis=0), axis=1) / dt[1:, 0]
    assert acceleration.max() <= LIMITS.max_acceleration_m_s2 * 1.0001
    assert turning.max() <= LIMITS.max_rotation_acceleration_rad_s2 * 1.0001
    assert all(0.0 <= command.gripper <= 1.0 for _, command, _ in track)


@pytest.mark.parametrize("late_s", [0.02, 0.1, 0.3])
def test_after_a_late_tick_the_command_moves_on_by_no_more_than_full_speed_for_20_ms_or_braking_allows(late_s):
    safe = limiter()
    for _ in range(30):
        before = safe.limit(pose(HOME + [0.29, 0, 0]), DT).position_m
    step = safe.limit(pose(HOME + [0.29, 0, 0]), late_s).position_m[0] - before[0]
    slowest = LIMITS.max_speed_m_s - LIMITS.max_acceleration_m_s2 * late_s
    assert 0 < step <= max(LIMITS.max_speed_m_s * 0.02, slowest * late_s) + 1e-12


def test_a_tick_in_which_no_time_has_passed_moves_nothing():
    safe = limiter()
    assert safe.limit(pose(HOME + 0.1), 0.0) is safe.commanded
    assert safe.brake(0.0) is safe.commanded
    np.testing.assert_array_equal(safe.commanded.position_m, HOME)


def test_braking_is_harder_than_a_smooth_stop_only_where_the_border_asks_for_it():
    """Towards the border at 0.5 m/s, from where 3 m/s2 would end 3 cm outside."""
    safe = limiter()
    wall = LIMITS.workspace_high_m[0]
    while safe.commanded.position_m[0] < wall - 0.025:
        safe.limit(pose((2.0, 0.0, 0.25)), DT)
    track = [safe.commanded.position_m[0]]
    while not safe.at_rest:
        track.append(safe.brake(DT).position_m[0])
    assert wall - 0.02 < track[-1] <= wall
    assert np.diff(track, n=2).min() >= -LIMITS.max_acceleration_m_s2 * DT**2 * 1.0001


@settings(max_examples=15)
@given(st.tuples(st.floats(0.25, 0.75), st.floats(-0.35, 0.35), st.floats(0.05, 0.45)))
def test_inside_the_workspace_acceleration_is_limited_and_the_target_is_reached(target):
    safe = limiter()
    track = np.array([HOME, HOME] + [safe.limit(pose(target), DT).position_m for _ in range(300)])
    acceleration = np.diff(track, n=2, axis=0) / DT**2
    assert np.linalg.norm(acceleration, axis=1).max() <= LIMITS.max_acceleration_m_s2 + 1e-6
    np.testing.assert_allclose(track[-1], target, atol=1e-6)
    overshoot = (track - HOME) @ (np.array(target) - HOME) - np.sum((np.array(target) - HOME) ** 2)
    assert overshoot.max() <= 1e-3 * max(np.linalg.norm(np.array(target) - HOME), 1e-9)


def test_a_slow_target_is_followed_without_lag_or_count():
    """0.2 m/s is within the limits: after the start the command is the target itself."""
    safe = limiter()
    for tick in range(200):
        target = HOME + [0.2 * DT * tick, 0, 0]
        command = safe.limit(pose(target), DT)
        if tick > 20:
            np.testing.assert_allclose(command.position_m, target, atol=1e-6)
    assert safe.counts.limited == 0


def test_counts_tell_which_limit_kept_the_arm_back():
    outside = limiter()
    for _ in range(400):
        outside.limit(pose((2.0, 0.0, 0.25)), DT)
    assert outside.counts.workspace == 400
    assert outside.counts.largest_m == pytest.approx(1.5, abs=1e-2)
    fast = limiter()
    for _ in range(20):
        fast.limit(pose(HOME + [0.2, 0, 0]), DT)
    assert fast.counts.speed + fast.counts.acceleration == fast.counts.limited == 20
    assert fast.counts.workspace == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_target_that_is_not_finite_is_refused_and_counted(bad):
    safe = limiter()
    assert safe.limit(pose((bad, 0, 0)), DT) is None
    assert safe.limit(Command(HOME, np.full((3, 3), bad), 1.0), DT) is None
    assert safe.limit(pose(gripper=bad), DT) is None
    assert safe.counts.refused == 3
    np.testing.assert_array_equal(safe.commanded.position_m, HOME)


def test_braking_takes_v_squared_over_two_a():
    safe = limiter()
    for tick in range(60):
        safe.limit(pose(HOME + [0.3 * DT * tick, 0, 0], gripper=0.3), DT)
    start = safe.commanded.position_m[0]
    track = [start]
    while not safe.at_rest:
        command = safe.brake(DT)
        track.append(command.position_m[0])
        assert command.gripper == 0.3
    assert track[-1] - start == pytest.approx(0.3**2 / (2 * LIMITS.braking_m_s2), abs=0.3 * DT)
    assert np.all(np.diff(track) >= 0)
    np.testing.assert_array_equal(safe.brake(DT).position_m, safe.commanded.position_m)


def test_from_outside_the_workspace_only_the_way_back_is_open():
    safe = SafetyLimiter(LIMITS)
    safe.reset(pose((1.0, 0.0, 0.25)))
    away = safe.limit(pose((2.0, 0.0, 0.25)), DT)
    assert away.position_m[0] <= 1.0
    for _ in range(300):
        back = safe.limit(pose(HOME), DT)
    np.testing.assert_allclose(back.position_m, HOME, atol=1e-3)


def test_limits_come_from_the_arm_and_can_only_be_lowered():
    arm = ArmCapabilities(250, (0, 0, 0), (1, 1, 1), 0.8, 2.0, True, 0.2)
    assert SafetyLimits.from_capabilities(arm).max_speed_m_s == 0.8
    assert SafetyLimits.from_capabilities(arm, max_speed_m_s=0.1).max_speed_m_s == 0.1
    assert SafetyLimits.from_capabilities(arm, max_speed_m_s=5.0).max_speed_m_s == 0.8


def test_a_side_without_a_border_limits_nothing():
    safe = limiter(SafetyLimits((-np.inf, -0.4, 0.0), (np.inf, 0.4, np.inf), 0.5, 2.0))
    for _ in range(600):
        command = safe.limit(pose((1.5, 0.0, 1.0)), DT)
    np.testing.assert_allclose(command.position_m, (1.5, 0.0, 1.0), atol=1e-6)


def test_limits_that_cannot_be_meant_are_refused():
    for speed in (0.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match=f"max_speed_m_s must be positive and finite, found {speed}"):
            SafetyLimits((0, 0, 0), (1, 1, 1), speed, 1.0)
    with pytest.raises(ConfigError, match="workspace box is empty"):
        SafetyLimits((0, 0, 0), (1, 0, 1), 1.0, 1.0)
    with pytest.raises(ConfigError, match="must be reset"):
        SafetyLimiter(LIMITS).brake(DT)
