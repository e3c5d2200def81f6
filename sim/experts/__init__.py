"""Scripted experts: what to do next in a scene, as waypoints for an operator's hand or as the actions themselves."""

from __future__ import annotations

from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry
from robolearn.sim.experts.protocol import ActionExpert, Expert

EXPERTS = Registry(
    "expert",
    {
        "avoiding": "robolearn.sim.experts.avoiding:AvoidingExpert",
        "block_push": "robolearn.sim.experts.block_push:BlockPushExpert",
        "hand_over/panda": "robolearn.sim.experts.hand_over:PandaHandOverExpert",
        "hand_over/vx300s": "robolearn.sim.experts.hand_over:Vx300sHandOverExpert",
        "put_on_plate": "robolearn.sim.experts.put_on_plate:PutOnPlateExpert",
        "put_on_plate/so100": "robolearn.sim.experts.put_on_plate:So100Expert",
        "put_on_plate/ur5e": "robolearn.sim.experts.put_on_plate:PutOnPlateExpert",
        "put_on_plate/vx300s": "robolearn.sim.experts.put_on_plate:Vx300sExpert",
        "put_on_plate/xarm7": "robolearn.sim.experts.put_on_plate:PutOnPlateExpert",
        "robosuite/Lift": "robolearn.sim.experts.robosuite_lift:LiftExpert",
        "robosuite/Stack": "robolearn.sim.experts.robosuite_stack:StackExpert",
    },
    extra="sim",
    extras={"robosuite/Lift": "robosuite", "robosuite/Stack": "robosuite"},
    group="robolearn.experts",
)


def expert_class(env_name: str) -> type[Expert] | type[ActionExpert]:
    """The class of the expert of an environment; it is made without arguments.

    Raises ConfigError where there is none, and for what is neither an `Expert` nor an `ActionExpert`.
    """
    found = EXPERTS.resolve(env_name)
    if not isinstance(found, type):
        raise ConfigError(
            f"The expert {env_name!r} ({EXPERTS[env_name]}) is a {type(found).__name__}; expected a class that is made "
            "without arguments (docs/packages.md)."
        )
    if not issubclass(found, ActionExpert):
        EXPERTS.require(env_name, found, Expert)
    return found


def gives_actions(env_name: str) -> bool:
    """Whether the expert of the environment is an `ActionExpert`; False, too, where there is no expert."""
    return env_name in EXPERTS and issubclass(expert_class(env_name), ActionExpert)
