"""Policies by name. Adding one is one file and one line here, or an entry point of a package of your own."""

from __future__ import annotations

import dataclasses
from typing import Any

from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry

POLICIES = Registry(
    "policy",
    {
        "act": "robolearn.policies.act:ActPolicy",
        "bc": "robolearn.policies.bc:BcPolicy",
        "bc_rnn": "robolearn.policies.bc_rnn:BcRnnPolicy",
        "bc_transformer": "robolearn.policies.bc_transformer:BcTransformerPolicy",
        "beso": "robolearn.policies.beso:BesoPolicy",
        "diffusion": "robolearn.policies.diffusion:DiffusionPolicy",
        "vq_bet": "robolearn.policies.vq_bet:VqBetPolicy",
    },
    extra="train",
    group="robolearn.policies",
)

NEEDED_FIELDS = ("observations", "obs_horizon", "action_horizon")
"""What training reads of every policy's configuration; beside a field `goals`, also `goal_horizon`."""


def config_of(name: str) -> Any:
    """The class of the configuration of the policy called `name`.

    Raises ConfigError for an unknown name and for a policy whose configuration lacks a field that training reads.
    """
    kind = POLICIES.resolve(name)
    config = getattr(kind, "Config", None)
    expected = f"expected a dataclass with the fields {', '.join(NEEDED_FIELDS)} (docs/training.md, Adding a policy)"
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        found = "no Config" if config is None else f"the Config {getattr(config, '__name__', config)!r}"
        raise ConfigError(f"The policy {name!r} ({POLICIES[name]}) has {found}; {expected}.")
    fields = {field.name for field in dataclasses.fields(config)}
    missing = [field for field in NEEDED_FIELDS if field not in fields]
    missing += ["goal_horizon"] if "goals" in fields and "goal_horizon" not in fields else []
    if missing:
        lacks = f"whose configuration {config.__name__} lacks {' and '.join(map(repr, missing))}"
        raise ConfigError(f"The policy {name!r} ({POLICIES[name]}), {lacks}, cannot be trained; {expected}.")
    return config
