"""The scenes of the first days do what they did before action layouts were, to the bit: fixtures/before_layouts/.

Where numpy's libraries round otherwise than where the states were recorded (their kernels differ between processors),
the first whole states of each episode agree to 1e-9 instead.
"""

import importlib.util
import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robolearn.sim import make_env

FOLDER = Path(__file__).parents[1] / "fixtures" / "before_layouts"
RECORDED = np.load(FOLDER / "states.npz")
ABOUT = json.loads(str(RECORDED["about"]))
_SPEC = importlib.util.spec_from_file_location("make_states", FOLDER / "make_states.py")
made = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made)
EPISODES = [(name, number) for name, episodes in ABOUT["episodes"].items() for number in range(len(episodes))]
BEFORE_CONTACT = 10  # steps


@pytest.mark.parametrize(("name", "number"), EPISODES)
def test_the_same_actions_give_the_same_states_and_the_same_sights(name, number):
    if mujoco.__version__ != ABOUT["mujoco"]:
        pytest.skip(f"states of MuJoCo {ABOUT['mujoco']}; {mujoco.__version__} finds other points of contact")
    env, (init_state, _) = make_env(name), ABOUT["episodes"][name][number]
    recorded = {
        part: RECORDED[f"{name}.{number}.{part}"] for part in ("actions", "states", "seen", "whole", "whole_at")
    }
    observation, info = env.reset(options={"init_state": init_state})
    states = [env.sim_state()]
    seen = [made.seen(observation, 0.0, False, False, info)]
    for action in recorded["actions"]:
        seen.append(made.seen(*env.step(action)))
        states.append(env.sim_state())
    if str(made.rounding()) == ABOUT["rounding"]:
        assert [made.digest(state) for state in states] == recorded["states"].tolist()
        assert seen == recorded["seen"].tolist()
        assert len(np.unique(recorded["states"])) == len(states) > 50, "it is no scene in which nothing happens"
    for at, whole in zip(recorded["whole_at"], recorded["whole"], strict=True):
        if at <= BEFORE_CONTACT:
            np.testing.assert_allclose(states[at], whole, atol=1e-9)
