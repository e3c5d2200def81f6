"""Scripted experts: what to do next in a scene, as waypoints. How a hand gets there is the operator's business."""

from robolearn.core.registry import Registry

EXPERTS = Registry(
    "expert",
    {"put_on_plate": "robolearn.sim.experts.put_on_plate:PutOnPlateExpert"},
    extra="sim",
)
