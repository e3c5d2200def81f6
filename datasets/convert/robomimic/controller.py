"""What the actions of robosuite's OSC_POSE controller mean, where a file says exactly how it was set.

Steps of the measured pose, scaled from [-1, 1] to the controller's output range, along the axes of the world in
robosuite up to 1.4, of the arm's base in 1.5 where `input_ref_frame` says so; the gripper opens at -1 and closes at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robolearn.core.action import ActionLayout, Part, Reference
from robolearn.core.errors import LayoutError

ROBOTS = {"Panda": "panda"}  # ours whose tool and base are robosuite's
_REFERENCES: dict[str, Reference] = {"achieved": "current", "desired": "target"}


def action_layout(env_args: Mapping[str, Any], size: int) -> ActionLayout | None:
    """The layout of actions of `size` numbers; None where the controller is another one, or anything is not said.

    Args:
        env_args: of robomimic, or `env_info` of robosuite's own demonstrations.
    """
    arguments = env_args.get("env_kwargs", env_args)
    try:
        robots = arguments["robots"]
        (robot,) = (robots,) if isinstance(robots, str) else tuple(robots)
        arm = _of_one_arm(arguments["controller_configs"])
        frame = {None: "world", "world": "world", "base": "base"}[arm.get("input_ref_frame")]
        reference = _REFERENCES[arm.get("goal_update_mode", "achieved")]
        if (arm["type"], arm["impedance_mode"], arm.get("input_type", "delta")) != ("OSC_POSE", "fixed", "delta"):
            return None
        if not arm.get("control_delta", True) or size not in (6, 7):
            return None
        # six numbers each, or one for all
        ends = np.array([np.broadcast_to(np.asarray(arm[f"{side}_{end}"], np.float64), 6)
                         for side in ("input", "output") for end in ("min", "max")])  # fmt: skip
        low, high, out_low, out_high = ends
        if not (low == low[0]).all() or not (high == high[0]).all():
            return None
        scale = (out_high - out_low) / (high - low)
        motion = Part(
            "pose", reference=reference, rotation="axis_angle", frame=frame, scale=tuple(scale),
            offset=tuple(out_low - scale * low), limit=(float(low[0]), float(high[0])),
        )  # fmt: skip
        gripper = Part("gripper", scale=(-0.5,), offset=(0.5,), limit=(-1.0, 1.0))
        known = (("", ROBOTS[robot]),) if robot in ROBOTS else ()
        return ActionLayout((motion, gripper) if size == 7 else (motion,), known)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, LayoutError):
        return None


def _of_one_arm(config: Any) -> Mapping[str, Any]:
    """The settings of an only arm, of robosuite up to 1.4 (flat, or a list of one) or of 1.5 (by part of the body)."""
    config = config[0] if isinstance(config, list) and len(config) == 1 else config
    parts = config.get("body_parts")
    found = config if parts is None else parts.get("arms", parts).get("right")
    if not isinstance(found, Mapping):
        raise TypeError(f"settings of a controller are {type(found).__name__}")
    return found
