"""Environments by name. `name/variant` passes the part after the slash on: `robosuite/Lift`, `pusht/keypoints`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry
from robolearn.sim.rendering import check_setting

if TYPE_CHECKING:
    from robolearn.sim.env import SimEnv

ENVIRONMENTS = Registry(
    "environment",
    {
        "avoiding": "robolearn.sim.scenes.avoiding:Avoiding",
        "block_push": "robolearn.sim.scenes.block_push:BlockPush",
        "put_on_plate": "robolearn.sim.scenes.put_on_plate:PutOnPlate",
        "pusht": "robolearn.sim.adapters.pusht:PushT",
        "robosuite": "robolearn.sim.adapters.robosuite:RobosuiteEnv",
    },
    extra="sim",
    group="robolearn.environments",
)


def make_env(name: str, **options: Any) -> SimEnv:
    """Make the environment called `name`.

    Raises ConfigError for an unknown name, SignatureError for options that this environment does not have, and like
    `check_setting`.

    Options common to all: `cameras: tuple[str, ...]` to put images into observations (none by default, and
    then no GL is needed) and `image_size: int` in pixels.
    """
    check_setting()
    base, _, variant = name.partition("/")
    if variant and "cameras" in list(inspect.signature(ENVIRONMENTS.resolve(base)).parameters)[:1]:
        raise ConfigError(f"Environment {base!r} has no variants, found {name!r}.")
    return ENVIRONMENTS.make(base, *([variant] if variant else []), **options)


def evaluation_start(name: str) -> int:
    """The first start state that the environment called `name` is evaluated from. Raises ConfigError."""
    return int(getattr(_kind(name), "evaluation_start", 0))


def demonstrated_states(name: str) -> range:
    """The start states that its published demonstrations begin from. Raises ConfigError for an unknown name."""
    states = getattr(_kind(name), "demonstrated", range(0))
    return states if isinstance(states, range) else range(0)


def _kind(name: str) -> Any:
    check_setting()
    return ENVIRONMENTS.resolve(name.partition("/")[0])
