"""Operators by name: the input devices people hold, and the scripted one."""

from __future__ import annotations

from robolearn.core.clock import Clock
from robolearn.core.errors import ConfigError, unknown_name
from robolearn.hardware.input.protocol import InputDevice
from robolearn.hardware.input.registry import INPUT_DEVICES, make_input_device

SCRIPTED = "scripted"


def operator_names() -> list[str]:
    return [*INPUT_DEVICES, SCRIPTED]


def make_operator(name: str, env: str, clock: Clock, rate_hz: float, seed: int = 0) -> InputDevice:
    """Make the operator called `name` for environment `env`.

    Raises ConfigError for an unknown name, and when `scripted` is asked for in an environment without an expert, or
    with one that gives actions and so moves no hand.
    """
    if name not in operator_names():
        raise ConfigError(unknown_name("operator", name, operator_names()))
    if name != SCRIPTED:
        return make_input_device(name, clock)
    from robolearn.sim.experts import EXPERTS, expert_class
    from robolearn.sim.experts.protocol import ActionExpert
    from robolearn.teleop.scripted import ScriptedOperator

    if env not in EXPERTS:
        raise ConfigError(
            f"No scripted expert knows environment {env!r}; there are experts for {', '.join(sorted(EXPERTS))}. "
            "Use --operator keyboard."
        )
    expert = expert_class(env)
    if issubclass(expert, ActionExpert):
        raise ConfigError(
            f"The expert of {env!r} gives actions and no waypoints for a hand: it is for robolearn record --env {env} "
            f"--operator {SCRIPTED} alone."
        )
    return ScriptedOperator(expert(), 1.0 / rate_hz, seed)
