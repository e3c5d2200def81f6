import dataclasses

import pytest

from robolearn.core.errors import ConfigError
from robolearn.policies.registry import NEEDED_FIELDS, POLICIES, config_of
from robolearn.policies.window import WindowConfig


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_says_in_one_way_what_goes_in_and_comes_out(name):
    kind = config_of(name)
    assert issubclass(kind, WindowConfig)
    first = [field.name for field in dataclasses.fields(kind)][:5]
    assert first == [field.name for field in dataclasses.fields(WindowConfig)] and set(NEEDED_FIELDS) < set(first)
    for length in ("obs_horizon", "action_horizon", "goal_horizon"):
        with pytest.raises(ConfigError, match=rf"^{length} must be at least 1, found 0\.$"):
            kind(**{length: 0})


def test_a_configuration_of_ones_own_needs_its_own_fields_alone():
    @dataclasses.dataclass(frozen=True)
    class LinearConfig(WindowConfig):
        action_horizon: int = 8
        width: int = 4

    config = LinearConfig(goals=("observation.state",))
    assert (config.obs_horizon, config.action_horizon, config.goal_horizon, config.width) == (1, 8, 1, 4)
