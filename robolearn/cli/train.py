"""`robolearn train POLICY --dataset X.zarr --output DIR`: train a policy by imitation."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

from robolearn.core import config as configuration
from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.registry import Registry


def main(argv: list[str]) -> int:
    from robolearn.policies.registry import POLICIES

    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: robolearn train POLICY [options]\n\nPOLICY: {', '.join(POLICIES)}")
        print("Options of one: robolearn train POLICY --help")
        return 0
    name, options = argv[0], argv[1:]
    if name not in POLICIES:
        raise ConfigError(unknown_name("policy", name, POLICIES))
    command = _command(POLICIES, name)
    as_json = "--json" in options
    options = [o for o in options if o != "--json"]
    parsed: Any = configuration.parse(command, options, f"robolearn train {name}", "Train a policy by imitation.")

    from robolearn.training.config import TrainConfig
    from robolearn.training.trainer import train

    run = TrainConfig(**{f.name: getattr(parsed, f.name) for f in dataclasses.fields(TrainConfig)})
    result = train(run, name, parsed.policy, quiet=as_json)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        print(f"Trained {result.steps} steps in {result.duration_s:.0f} s. Policy: {run.output}")
        print(f"Next: robolearn eval --policy {run.output} --env ENV")
    return 0


def _command(policies: Registry, name: str) -> type:
    """TrainConfig with the policy's own options under `--policy.`.

    The name of the policy is part of the configuration that a run writes, so that it can be given back with --config.
    """
    import tyro

    from robolearn.training.config import TrainConfig

    policy_config = policies.resolve(name).Config
    return dataclasses.make_dataclass(
        "Train",
        [
            ("policy", policy_config, dataclasses.field(default_factory=policy_config)),
            ("policy_name", tyro.conf.Suppress[Literal[name]], dataclasses.field(default=name)),  # type: ignore
        ],
        bases=(TrainConfig,),
        frozen=True,
    )
