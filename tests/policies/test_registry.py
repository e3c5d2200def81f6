"""Policies of other packages whose configuration lacks what training reads."""

import sys
import types
from dataclasses import dataclass, make_dataclass

import pytest

from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry
from robolearn.policies import registry
from robolearn.policies.registry import POLICIES, config_of

FIELDS = {"observations": tuple[str, ...], "obs_horizon": int, "action_horizon": int}


@pytest.fixture
def declared(monkeypatch):
    """Registers a policy with this Config under the name `mine`."""
    monkeypatch.setattr(registry, "POLICIES", Registry("policy", {"mine": "my_package:Mine"}))
    monkeypatch.setitem(sys.modules, "my_package", module := types.ModuleType("my_package"))

    def declare(**attributes) -> None:
        module.Mine = type("Mine", (), attributes)

    return declare


def refused() -> str:
    with pytest.raises(ConfigError, match=r"^The policy 'mine' \(my_package:Mine\)") as error:
        config_of("mine")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", list(POLICIES))
def test_ours_have_all_that_training_reads(name):
    assert config_of(name) is POLICIES.resolve(name).Config


@pytest.mark.parametrize("missing", FIELDS)
def test_a_missing_field_is_named(declared, missing):
    fields = {name: kind for name, kind in FIELDS.items() if name != missing}
    declared(Config=make_dataclass("MyConfig", fields.items()))
    assert f"whose configuration MyConfig lacks {missing!r}, cannot be trained; expected a dataclass with" in refused()


def test_goals_need_their_horizon(declared):
    declared(Config=make_dataclass("MyConfig", [*FIELDS.items(), ("goals", tuple[str, ...])]))
    assert "lacks 'goal_horizon'" in refused()
    complete = make_dataclass("MyConfig", [*FIELDS.items(), ("goals", tuple[str, ...]), ("goal_horizon", int)])
    declared(Config=complete)
    assert config_of("mine") is complete


def test_no_configuration_or_one_that_is_no_dataclass_is_told(declared):
    declared()
    assert "has no Config; expected a dataclass with the fields observations, obs_horizon" in refused()
    declared(Config=dict)
    assert "has the Config 'dict'; expected a dataclass" in refused()


@dataclass
class Text:
    observations: str = "observation.state"
    obs_horizon: int = 1
    action_horizon: int = 1


def test_observations_as_a_text_are_told(tmp_path, declared):
    from robolearn.training.corpus import _chosen

    with pytest.raises(ConfigError, match="observations is the text 'observation.state', expected a list of features"):
        _chosen("d.zarr", {}, Text().observations, "observations")
