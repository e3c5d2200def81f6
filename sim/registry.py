"""Environments by name. `name/variant` passes the part after the slash on: `robosuite/Lift`, `pusht/keypoints`.

What a name stands for is a task, which `MujocoEnv` runs, or makes an environment.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from robolearn.core.action import ActionLayout
from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry
from robolearn.sim.rendering import check_setting

if TYPE_CHECKING:
    from robolearn.sim.engine.task import Task
    from robolearn.sim.env import SimEnv

ENVIRONMENTS = Registry(
    "environment",
    {
        "avoiding": "robolearn.sim.tasks.avoiding:Avoiding",
        "block_push": "robolearn.sim.tasks.block_push:BlockPush",
        "hand_over": "robolearn.sim.tasks.hand_over:HandOver",
        "lift": "robolearn.sim.tasks.lift:Lift",
        "put_on_plate": "robolearn.sim.tasks.put_on_plate:PutOnPlate",
        "pusht": "robolearn.sim.adapters.pusht:PushT",
        "robosuite": "robolearn.sim.adapters.robosuite:RobosuiteEnv",
    },
    extra="sim",
    extras={"robosuite": "robosuite"},
    group="robolearn.environments",
)


def make_env(name: str, action: str | ActionLayout | None = None, **options: Any) -> SimEnv:
    """Make the environment called `name`.

    Args:
        action: what its actions mean: a dialect (`robolearn.core.action_dialect`) or a layout; by default as it has it.
        options: common to all: `cameras: tuple[str, ...]` to put pictures into observations (none by default, and then
            no GL is needed) and `image_size: int` in pixels.

    Raises ConfigError for an unknown name and for what is no `SimEnv`, SignatureError for options that this environment
    does not have, LayoutError for actions that it does not take, and like `check_setting`.
    """
    check_setting()
    base, _, variant = name.partition("/")
    kind = ENVIRONMENTS.resolve(base)
    from robolearn.sim.engine.environment import MujocoEnv  # gymnasium, which comes with the environment
    from robolearn.sim.engine.task import Task
    from robolearn.sim.env import SimEnv

    if isinstance(kind, type) and issubclass(kind, Task):
        return ENVIRONMENTS.make(base, by=partial(MujocoEnv, kind(variant)), action=action, **options)
    if variant and "cameras" in list(inspect.signature(kind).parameters)[:1]:
        raise ConfigError(f"Environment {base!r} has no variants, found {name!r}.")
    env = ENVIRONMENTS.make(base, *([variant] if variant else []), **options)
    if not isinstance(env, SimEnv):
        found = f"{type(env).__module__}.{type(env).__qualname__}"
        raise ConfigError(
            f"The environment {base!r} ({ENVIRONMENTS[base]}) is a {found}; expected a subclass of "
            "robolearn.sim.env.SimEnv or robolearn.sim.engine.task.Task, which say what an environment has "
            "(docs/simulators.md)."
        )
    if action is not None:
        env.require_layout(action)
    return env


def evaluation_start(name: str) -> int:
    """The first start state that the environment called `name` is evaluated from. Raises ConfigError."""
    return _kind(name).evaluation_start


def demonstrated_states(name: str) -> range:
    """The start states that its published demonstrations begin from. Raises ConfigError for an unknown name."""
    return _kind(name).demonstrated


def task_text(name: str) -> str:
    """The task of an environment in words, from its name: "put on plate", whichever robot does it. Variants that are
    tasks of their own stay: "robosuite/Lift". Raises ConfigError for an unknown name.
    """
    from robolearn.sim.engine.task import Task

    # a task's variants are the robots that do it
    return (name.partition("/")[0] if issubclass(_kind(name), Task) else name).replace("_", " ")


def _kind(name: str) -> type[SimEnv] | type[Task]:
    """The class of the environment; of one that a function makes, the base of all, which has what holds for most."""
    check_setting()
    kind = ENVIRONMENTS.resolve(name.partition("/")[0])
    from robolearn.sim.engine.task import Task
    from robolearn.sim.env import SimEnv

    return kind if isinstance(kind, type) and issubclass(kind, SimEnv | Task) else SimEnv
