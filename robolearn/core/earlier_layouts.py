"""What actions and states mean in files that were written before layouts were: by their elements' names, or not at all.

Names are the only thing that such files say. Where they do not decide, `layout_of` gives None: the numbers can be
trained on and compared with others of the same names as before, but not converted.
"""

from __future__ import annotations

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature
from robolearn.core.rotation import POSE_NAMES

_POSE = Part("pose")
_GRIPPER = Part("gripper")


def layout_of(feature: Feature) -> ActionLayout | None:
    """The layout of an action or a state: its own, else what its names say; None where they do not say it."""
    if feature.layout is not None:
        return feature.layout
    names = feature.names or ()
    if names == (*POSE_NAMES, "gripper"):
        return ActionLayout((_POSE, _GRIPPER))
    if feature.name == "observation.joint_position" and names and feature.unit == "rad":
        return ActionLayout((Part("joints", names),))
    if (
        feature.kind == "action"
        and feature.unit == "m"
        and feature.frame == "world"
        and names in (("x", "y"), ("dx", "dy"))
    ):
        # the scenes avoiding and block_push move their last command
        return ActionLayout((Part("pose", reference="target", coordinates="xy", rotation="none", frame="world"),))
    return None
