"""`Task`: start states, what counts as done and how far one is, in a world."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.world import World
from robolearn.sim.observables.observable import Observable


class Task(abc.ABC):
    """One task in one world; `MujocoEnv` runs it.

    Attributes of the class:
        name: as given to `make_env`.
        language: what is to be done, as a person would be told.
        variants: names that may follow the task's after a slash; "" is the task without one.
        plain: what the task without a variant would be called as one; "" where that is nothing.
        max_steps: actions until truncation.
        control_hz: actions per second.
        any_rate: whether it may be run at another rate that divides the physics'.
        events_size: how many numbers `events` gives.
        evaluation_start, demonstrated, accepts_goal, modes, video_camera: as of `SimEnv`.

    Attributes:
        world: what it takes place in.
        scene_version: changes whenever the same actions would lead elsewhere.
        sim: the running world, from `bind` on.
    """

    name: ClassVar[str]
    language: ClassVar[str] = ""
    variants: ClassVar[tuple[str, ...]] = ("",)
    plain: ClassVar[str] = ""
    max_steps: int = 300
    control_hz: float = 20.0
    any_rate: ClassVar[bool] = True
    evaluation_start: ClassVar[int] = 0
    demonstrated: ClassVar[range] = range(0)
    accepts_goal: ClassVar[bool] = False
    modes: ClassVar[int | None] = None
    video_camera: str = "front"
    events_size: ClassVar[int] = 0

    scene_version: str
    world: World
    sim: Simulation

    def __init__(self, variant: str = ""):
        """Raises ConfigError for a variant that it does not have."""
        if variant not in self.variants:
            known = [name for name in self.variants if name]
            if not known:
                raise ConfigError(f"Environment {self.name!r} has no variants, found {f'{self.name}/{variant}'!r}.")
            if not variant:
                said = ", ".join(f"{self.name}/{name}" for name in known)
                raise ConfigError(f"Environment {self.name!r} comes in variants; say which one: {said}.")
            if variant == self.plain:
                raise ConfigError(f"{f'{self.name}/{variant}'!r} is the environment {self.name!r} itself; say that.")
            alone = f" {self.name!r} alone is one, too." if "" in self.variants else ""
            raise ConfigError(unknown_name(f"variant of the environment {self.name!r}", variant, known) + alone)
        self.variant = variant

    def bind(self, sim: Simulation) -> None:
        """Take the running world, and look up what is asked of it at every step."""
        self.sim = sim

    @abc.abstractmethod
    def start(self, rng: np.random.Generator) -> None:
        """Put things where a start state has them; `rng` is the start state's own. Arms are at their homes."""

    @abc.abstractmethod
    def info(self) -> dict[str, Any]:
        """`success`, `mode`, `score` in [0, 1] and partial flags, now."""

    def observables(self) -> Sequence[Observable]:
        """What is seen of the task; what is seen of arms and by cameras comes by itself."""
        return ()

    def ask(self, goal: Mapping[str, np.ndarray] | None) -> None:  # noqa: B027 - most take none
        """Score for a goal from now on. Raises FeatureError for one that asks for nothing."""

    def advance(self, substeps: int) -> None:
        """Let physics steps pass; for tasks that look at each of them."""
        self.sim.advance(substeps)

    def note(self) -> None:  # noqa: B027 - most remember nothing
        """Called after each action: remember what has happened."""

    def events(self) -> np.ndarray:
        """(`events_size`,) what is remembered beside the physics, as part of the simulator's state."""
        return np.empty(0)

    def set_events(self, events: np.ndarray) -> None:  # noqa: B027 - most remember nothing
        """The inverse of `events`."""

    def reward(self, info: Mapping[str, Any], score_before: float) -> float:
        return float(info["success"])

    def ended(self, info: Mapping[str, Any]) -> bool:
        """Whether the episode is over."""
        return bool(info["success"])
