import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.control.safety import SafetyLimiter, SafetyLimits
from robolearn.core.errors import ConfigError
from robolearn.core.rotation import angle_between, axis_angle_to_matrix
from robolearn.hardware.arms.protocol import ArmCapabilities, Command

DT = 0.005
LIMITS = SafetyLimits((0.2, -0.4, 0.0), (0.8, 0.4, 0.5), max_speed_m_s=0.5, max_rotation_rad_s=2.0)
HOME = np.array([0.5, 0.0, 0.25])

coordinate = st.floats(-1.5, 1.5)
targets = st.lists(st.tuples(coordinate, coordinate, coordinate, st.floats(-3, 3)), min_size=1, max_size=6)


def pose(position=HOME, turn_rad: float = 0.0, gripper: float = 1.0) -> Command:
    return Command(np.asarray(position, float), axis_angle_to_matrix(np.array([0, 0, turn_rad])), gripper)


def limiter(limits: SafetyLimits = LIMITS) -> SafetyLimiter:
    made = SafetyLimiter(limits)
    made.reset(pose())
    return made


@settings(max_examples=20)
@given(targets)
def test_every_limit_holds_for_any_targets(jumps):
    safe = limiter()
    positions, rotations = [HOME, HOME], [np.eye(3), np.eye(3)]
    for x, y, z, turn in jumps:
        for _ in range(30):
            command = safe.limit(pose((x, y, z), turn), DT)
            positions.append(command.position_m)
            rotations.append(command.rotation)
    track = np.array(positions)
    velocity = np.diff(track, axis=0) / DT
    assert np.all(track >= np.array(LIMITS.workspace_low_m) - 1e-12)
    assert np.all(track <= np.array(LIMITS.workspace_high_m) + 1e-12)
    assert np.linalg.norm(velocity, axis=1).max() <= LIMITS.max_speed_m_s + 1e-9
    spins = [angle_between(a, b) / DT for a, b in zip(rotations, rotations[1:], strict=False)]
    assert max(spins) <= LIMITS.max_rotation_rad_s + 1e-6


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


def test_limits_that_cannot_be_meant_are_refused():
    with pytest.raises(ConfigError, match="max_speed_m_s must be positive, found 0"):
        SafetyLimits((0, 0, 0), (1, 1, 1), 0.0, 1.0)
    with pytest.raises(ConfigError, match="workspace box is empty"):
        SafetyLimits((0, 0, 0), (1, 0, 1), 1.0, 1.0)
    with pytest.raises(ConfigError, match="must be reset"):
        SafetyLimiter(LIMITS).brake(DT)
