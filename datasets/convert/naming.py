"""Names in the wild: what the keys that people use for the same few things are called here.

`actions`, `state`, `qpos`, `image`, `observation/wrist_image`: openpi's LIBERO and DROID data, ALOHA's files and many
conversions use these. Names that are ours already, or that a format itself explains, do not come here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from robolearn.core.feature import Kind

OUTER = ("data", "steps", "observation", "observations", "obs")
GROUPS = ("images", "image", "depth", "depths", "pixels")
# in the order in which they are believed: the first that is there gets the name
SAME: Mapping[str, tuple[str, ...]] = {
    "action": ("action", "actions"),
    "observation.state": (
        "state", "states", "proprio", "proprioception", "robot_state", "robot_states", "agent_pos", "qpos",
    ),
    "observation.velocity": ("qvel",),
    "observation.effort": ("effort",),
    "observation.environment_state": ("environment_state", "env_state", "environment_states"),
    "next.reward": ("reward", "rewards"),
    "next.done": ("done", "dones", "terminal", "terminals"),
}  # fmt: skip
MEASURED = re.compile(
    r"(joint|gripper|cartesian|eef|ee|tcp|end_effector)_?(pos|position|positions|vel|velocity|velocities|pose|quat|"
    r"ori|state|states|width)"
)
PICTURE = re.compile(r"image|img|rgb|cam|colou?r|pixels|gr[ae]y(scale)?|video|view", re.IGNORECASE)
NO_PICTURE = re.compile(
    r"xyz|point|pcd|cloud|normal|flow|depth|mask|seg|label|disparity|feature|embed|latent|tactile", re.IGNORECASE
)


def bare(key: str) -> str:
    """The key with dots and without the groups around it: `observation/wrist_image` is `wrist_image`."""
    parts = [part for part in re.split(r"[/.]", key) if part]
    while len(parts) > 1 and parts[0].lower() in OUTER:
        parts = parts[1:]
    return ".".join(parts)


def is_observed(key: str) -> bool:
    """Whether the key itself says that it is an observation."""
    return re.split(r"[/.]", key)[0].lower() in ("observation", "observations", "obs")


def called_picture(key: str) -> bool | None:
    """Whether the name says that it is a picture, or that it is none; None where it says nothing."""
    if NO_PICTURE.search(bare(key)):
        return False
    return True if PICTURE.search(bare(key)) else None


def picture_name(key: str, kind: Kind) -> str:
    """`observation.images.<camera>` or `observation.depth.<camera>`."""
    parts = bare(key).split(".")
    if len(parts) > 1 and parts[0].lower() in GROUPS:
        parts = parts[1:]
    return f"observation.{'depth' if kind == 'depth' else 'images'}.{'.'.join(parts)}"


def kind_of(name: str, kind: Kind) -> Kind:
    """The kind of a low-dimensional feature of this name, which had `kind` under another one."""
    if name == "action" or name.startswith("action."):
        return "action"
    return "state" if kind == "action" and name.startswith("observation.") else kind


def recognised(keys: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Key -> our name, for the low-dimensional keys that are known; no name twice, and none of those `taken`."""
    spelt: dict[str, str] = {}
    for key in keys:
        spelt.setdefault(bare(key).lower(), key)
    used = set(taken)
    names: dict[str, str] = {}
    for name, spellings in SAME.items():
        found = next((spelt[spelling] for spelling in spellings if spelling in spelt), None)
        if found is not None and name not in used:
            names[found] = name
            used.add(name)
    for spelling, key in spelt.items():
        name = f"observation.{bare(key)}"
        if key not in names and name not in used and (is_observed(key) or MEASURED.fullmatch(spelling)):
            names[key] = name
            used.add(name)
    return names
