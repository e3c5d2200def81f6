"""What an environment may leave unsaid, and what becomes of things that are no environment."""

import re

import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.core.feature import Feature, features
from robolearn.sim.env import RealtimeEnv, SimEnv
from robolearn.sim.realtime import CellOptions, run_cell
from robolearn.sim.registry import ENVIRONMENTS, demonstrated_states, evaluation_start, make_env


class Bare(SimEnv):
    """Says what every environment must say, and nothing else."""

    name, scene_version, control_hz, max_steps = "bare", "bare-1", 20.0, 5

    def __init__(self):
        state = features([Feature("observation.state", (10,), frame="base")])
        self._declare(state, Feature("action", (10,), kind="action"))

    def task_info(self):
        return {"success": False, "mode": None, "score": 0.0}

    def sim_state(self):
        return np.zeros(1)

    def set_sim_state(self, state):
        return {"observation.state": np.zeros(10, np.float32)}

    def model_xml(self):
        return None

    def render_camera(self, camera, width, height):
        return np.zeros((height, width, 3), np.uint8)


class Elsewhere(Bare):
    evaluation_start = 500
    demonstrated = range(3)


class Gym:
    """Is like an environment, and does not say that it is one."""


def make_elsewhere():
    return Elsewhere()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name in ("Bare", "Elsewhere", "Gym", "make_elsewhere"):
        monkeypatch.setitem(ENVIRONMENTS._entries, name.lower(), f"{__name__}:{name}")


def test_an_environment_that_says_nothing_of_itself_has_what_holds_for_most():
    env = make_env("bare")
    assert (env.video_camera, env.cameras, env.model, env.data) == ("front", (), None, None)
    assert (env.accepts_goal, env.modes) == (False, None)
    assert np.isneginf(env.workspace_low_m).all() and np.isposinf(env.workspace_high_m).all()
    assert (evaluation_start("bare"), demonstrated_states("bare")) == (0, range(0))


def test_what_an_environment_says_of_itself_is_asked_of_its_class():
    assert (evaluation_start("elsewhere"), demonstrated_states("elsewhere")) == (500, range(3))
    assert evaluation_start("make_elsewhere") == 0, "of what a function makes nothing is known before it is made"
    assert make_env("make_elsewhere").evaluation_start == 500


def test_what_is_no_environment_is_refused_with_what_was_expected():
    expected = f"The environment 'gym' ({__name__}:Gym) is a {__name__}.Gym; expected a subclass of robolearn.sim.env.S"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        make_env("gym")


def test_only_what_takes_targets_between_steps_runs_in_real_time():
    assert isinstance(make_env("put_on_plate"), RealtimeEnv)
    with pytest.raises(ConfigError, match="'bare' cannot run in real time: it takes no targets between steps"):
        run_cell(CellOptions(env="bare", name="never_made"))
