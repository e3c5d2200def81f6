"""Operators by name, those of other packages too."""

import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import ConfigError
from robolearn.sim.experts import expert_class, gives_actions
from robolearn.teleop.operators import make_operator
from robolearn.teleop.scripted import ScriptedOperator

CODE = """
class Expert:
    def start_episode(self): ...
    def waypoint(self, observation): ...
    def reached(self): ...

class Acting:
    def start_episode(self, init_state): ...
    def action(self, observation): ...

class Half:
    def waypoint(self, observation): ...

def make_expert():
    return Expert()

class Stick:
    name, autonomous = "stick", False
    def __init__(self, clock):
        self.clock = clock
    def describe(self): ...
    def connect(self): ...
    def start_episode(self, attempt): ...
    def observe(self, observation, time_s): ...
    def read(self): ...
    def disconnect(self): ...
"""


@pytest.fixture(autouse=True)
def lab(install):
    experts = {name.lower(): f"a_lab:{name}" for name in ("Expert", "Acting", "Half", "make_expert")}
    devices = {"stick": "a_lab:Stick", "half": "a_lab:Half", "none": "a_lab:Expert"}
    install("a-lab", {"robolearn.experts": experts, "robolearn.input_devices": devices}, CODE)


def test_the_scripted_operator_follows_the_expert_of_a_package():
    assert isinstance(make_operator("scripted", "expert", VirtualClock(), 20.0), ScriptedOperator)
    assert not gives_actions("expert")


def test_an_expert_that_gives_actions_moves_no_hand():
    assert gives_actions("acting")
    with pytest.raises(
        ConfigError, match="'acting' gives actions and no waypoints.* record --env acting --operator sc"
    ):
        make_operator("scripted", "acting", VirtualClock(), 20.0)


def test_what_is_no_expert_is_refused_with_what_it_lacks_and_whose_it_is():
    with pytest.raises(
        ConfigError, match=r"'half' \(a_lab:Half\) lacks start_episode, reached, which .*'a-lab' declar"
    ):
        expert_class("half")
    with pytest.raises(ConfigError, match=r"'make_expert' \(a_lab:make_expert\) is a function; expected a class"):
        gives_actions("make_expert")


def test_an_input_device_of_a_package_is_given_the_clock():
    clock = VirtualClock()
    assert make_operator("stick", "expert", clock, 20.0).clock is clock


def test_what_is_no_input_device_is_refused():
    with pytest.raises(ConfigError, match=r"The input device 'none' \(a_lab:Expert in .*a_lab\.py\) cannot be made"):
        make_operator("none", "expert", VirtualClock(), 20.0)


def test_an_environment_without_an_expert_names_those_that_have_one():
    with pytest.raises(ConfigError, match=r"No scripted expert knows environment 'pusht'; .* acting, avoiding, .*half"):
        make_operator("scripted", "pusht", VirtualClock(), 20.0)
