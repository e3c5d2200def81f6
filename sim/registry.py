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
    extras={"robosuite": "robosuite"},
    group="robolearn.environments",
)


def make_env(name: str, **options: Any) -> SimEnv:
    """Make the environment called `name`.

    Raises ConfigError for an unknown name and for what is no `SimEnv`, SignatureError for options that this environment
    does not have, and like `check_setting`.

    Options common to all: `cameras: tuple[str, ...]` to put images into observations (none by default, and
    then no GL is needed) and `image_size: int` in pixels.
    """
    check_setting()
    base, _, variant = name.partition("/")
    if variant and "cameras" in list(inspect.signature(ENVIRONMENTS.resolve(base)).parameters)[:1]:
        raise ConfigError(f"Environment {base!r} has no variants, found {name!r}.")
    env = ENVIRONMENTS.make(base, *([variant] if variant else []), **options)
    from robolearn.sim.env import SimEnv  # gymnasium, which comes with the environment

    if not isinstance(env, SimEnv):
        kind = f"{type(env).__module__}.{type(env).__qualname__}"
        raise ConfigError(
            f"The environment {base!r} ({ENVIRONMENTS[base]}) is a {kind}; expected a subclass of "
            "robolearn.sim.env.SimEnv, which says what an environment has (docs/simulators.md)."
        )
    return env


def evaluation_start(name: str) -> int:
    """The first start state that the environment called `name` is evaluated from. Raises ConfigError."""
    return _kind(name).evaluation_start


def demonstrated_states(name: str) -> range:
    """The start states that its published demonstrations begin from. Raises ConfigError for an unknown name."""
    return _kind(name).demonstrated


def _kind(name: str) -> type[SimEnv]:
    """The class of the environment; of one that a function makes, the base of all, which has what holds for most."""
    check_setting()
    kind = ENVIRONMENTS.resolve(name.partition("/")[0])
    from robolearn.sim.env import SimEnv

    return kind if isinstance(kind, type) and issubclass(kind, SimEnv) else SimEnv
