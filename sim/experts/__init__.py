"""Scripted experts: what to do next in a scene, as waypoints for an operator's hand or as the actions themselves."""

from robolearn.core.registry import Registry

EXPERTS = Registry(
    "expert",
    {
        "avoiding": "robolearn.sim.experts.avoiding:AvoidingExpert",
        "block_push": "robolearn.sim.experts.block_push:BlockPushExpert",
        "put_on_plate": "robolearn.sim.experts.put_on_plate:PutOnPlateExpert",
        "robosuite/Lift": "robolearn.sim.experts.robosuite_lift:LiftExpert",
        "robosuite/Stack": "robolearn.sim.experts.robosuite_stack:StackExpert",
    },
    extra="sim",
)
