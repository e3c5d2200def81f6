"""Recorded configurations by task: `robolearn train beso --preset pusht`. A task is one file and one line here, or an
entry point of a package of your own.

Each file holds `PRESETS`, policy name -> `Preset`. Options of a command line win over a preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry

PRESETS = Registry(
    "preset",
    {
        "pusht": "robolearn.training.presets.pusht:PRESETS",
        "avoiding": "robolearn.training.presets.avoiding:PRESETS",
        "block_push": "robolearn.training.presets.block_push:PRESETS",
        "hand_over": "robolearn.training.presets.hand_over:PRESETS",
        "robosuite": "robolearn.training.presets.robosuite:PRESETS",
    },
    extra="train",
    group="robolearn.presets",
)


@dataclass(frozen=True)
class Preset:
    """How a policy is trained on a task.

    Attributes:
        policy: the policy's configuration.
        train: what differs from the defaults of `TrainConfig`, by field name; parts of `ema` may be left out.
    """

    policy: Any
    train: Mapping[str, Any] = field(default_factory=dict)


def load_preset(task: str, policy: str) -> Preset:
    """The preset of a policy for a task. Raises ConfigError for names that have none, and for what is no preset."""
    presets = PRESETS.resolve(task)
    if not isinstance(presets, Mapping) or not all(isinstance(preset, Preset) for preset in presets.values()):
        raise ConfigError(
            f"The preset {task!r} ({PRESETS[task]}) is not of the form {{policy: Preset}}; see docs/packages.md."
        )
    if policy not in presets:
        raise ConfigError(f"Preset {task!r} is for the policies {', '.join(presets)}; it has none for {policy!r}.")
    return presets[policy]
