"""When samples are taken and which one is given: the tables are written out, in steps of 10 ms."""

import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.core.rotation import matrix_to_rot6d
from robolearn.sim import make_env
from robolearn.sim.observables.sampled import Gaussian, Sampled, Schedule, Sensing

STATE = "observation.state"


def given(sensing: Sensing, asked: list[int], timestep_s: float = 0.01) -> list[float]:
    """What a sensor of the step's own number gives at these steps, when it is sampled as the engine does it."""
    now = [0]
    sampled = Sampled("x", lambda: np.array([now[0]], np.float32), "float32", sensing, timestep_s)
    schedule, found = Schedule([sampled]), []
    schedule.begin(0, (0,))
    for end in asked:
        while now[0] < end:
            now[0] = schedule.next_due(now[0], end)
            schedule.sample(now[0])
        found.append(float(sampled.given(end)[0]))
    return found


@pytest.mark.parametrize(
    ("sensing", "expected"),
    [
        (Sensing(), [0, 5, 10, 15, 20, 25, 30]),
        (Sensing(rate_hz=10), [0, 0, 10, 10, 20, 20, 30]),
        (Sensing(rate_hz=10, delay_s=0.06), [0, 0, 0, 0, 10, 10, 20]),  # the table of the module's text
        (Sensing(rate_hz=10, delay_s=0.10), [0, 0, 0, 0, 10, 10, 20]),
        (Sensing(delay_s=0.05), [0, 0, 5, 10, 15, 20, 25]),
        (Sensing(delay_s=0.07), [0, 0, 0, 5, 10, 15, 20]),
        (Sensing(rate_hz=30), [0, 4, 10, 14, 20, 24, 30]),  # samples at 0, 4, 7, 10, 14, 17, 20, ...
        (Sensing(rate_hz=1000), [0, 5, 10, 15, 20, 25, 30]),  # no faster than the physics
    ],
)
def test_the_newest_sample_that_is_old_enough_is_given(sensing, expected):
    assert given(sensing, [0, 5, 10, 15, 20, 25, 30]) == expected


@pytest.mark.parametrize("options", [{"rate_hz": 0}, {"rate_hz": -1}, {"rate_hz": np.inf}, {"delay_s": -0.1}])
def test_rates_and_delays_that_are_none_are_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        Sensing(**options)


def test_noise_has_the_deviation_that_was_asked_for_and_whole_numbers_stay_whole():
    rng = np.random.default_rng(0)
    found = Gaussian((1.0, 10.0))(np.zeros((20_000, 2), np.float32), rng)
    assert found.std(axis=0) == pytest.approx([1.0, 10.0], rel=0.02) and np.abs(found.mean(axis=0)).max() < 0.3
    picture = Gaussian(50.0)(np.full((50, 50, 3), 250, np.uint8), rng)
    assert picture.max() == 255 and picture.min() < 250 and np.array_equal(picture, np.rint(picture))


def run(env, init_state=3, steps=12, goal_m=(0.0, 0.05, -0.05)):
    """Observations of a motion, and the last simulator state."""
    observation, _ = env.reset(options={"init_state": init_state})
    position, rotation = env.simulation.arm.tcp_pose()
    action = np.concatenate([position + goal_m, matrix_to_rot6d(rotation), [1.0]]).astype(np.float32)
    seen = [observation]
    for _ in range(steps):
        seen.append(env.step(action)[0])
    return seen, env.sim_state()


def test_sensors_change_what_is_seen_and_nothing_of_what_happens():
    plain, expected = run(make_env("put_on_plate"))
    sensing = {
        STATE: Sensing(rate_hz=10, delay_s=0.1, noise=Gaussian(0.001)),
        "observation.environment_state": Sensing(rate_hz=30),
    }
    env = make_env("put_on_plate", sensing=sensing)
    seen, found = run(env)
    assert np.array_equal(found, expected), "simulated is the same, sampled between physics steps or not"
    assert env.observation_features[STATE].rate_hz == 10
    # at step k, 50 ms each, it is of step k - 2 or k - 3: what is 100 ms old at least, of samples every 100 ms
    for k in range(3, 13):
        was = plain[k - 2 - (k % 2)][STATE]
        assert np.abs(seen[k][STATE] - was).max() < 0.006 and not np.array_equal(seen[k][STATE], was)
    again, _ = run(env)
    for one, other in zip(seen, again, strict=True):
        assert np.array_equal(one[STATE], other[STATE]), "the same episode is seen the same"


def test_each_start_state_has_noise_of_its_own():
    sensing = {"observation.joint_position": Sensing(noise=Gaussian(0.01))}
    env, plain, errors = make_env("put_on_plate", sensing=sensing), make_env("put_on_plate"), []
    for k in (3, 4):
        options = {"init_state": k}
        noisy, true = (e.reset(options=options)[0]["observation.joint_position"] for e in (env, plain))
        errors.append(noisy - true)
    assert 0.002 < np.std(errors) < 0.03 and np.abs(errors[0] - errors[1]).max() > 0.002


def test_the_rod_takes_the_same_passages_however_it_is_looked_at():
    actions = np.random.default_rng(0).uniform(-0.01, 0.015, (60, 2)).astype(np.float32)
    states = []
    for sensing in ({}, {STATE: Sensing(rate_hz=45)}):
        env = make_env("avoiding", sensing=sensing)
        env.reset()
        for action in actions:
            env.step(action)
        states.append(env.sim_state())
    assert np.array_equal(*states)


def test_going_on_from_a_state_forgets_what_was_seen_before():
    env = make_env("put_on_plate", sensing={STATE: Sensing(delay_s=0.2)})
    seen, state = run(env, steps=5)
    measured = env.arm_state()[""].position_m
    assert np.abs(seen[-1][STATE][:3] - measured).max() > 1e-3
    assert env.set_sim_state(state)[STATE][:3] == pytest.approx(measured, abs=1e-6)


def test_a_sensor_of_nothing_is_refused_with_the_closest_name():
    with pytest.raises(ConfigError, match=r"Unknown feature .* 'observation.stat'.*Did you mean 'observation.state'"):
        make_env("put_on_plate", sensing={"observation.stat": Sensing()})
