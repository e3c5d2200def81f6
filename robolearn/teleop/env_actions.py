"""Actions that an environment takes, from those of somebody who speaks another layout: a person's hand, an expert."""

from __future__ import annotations

from robolearn.core.action import ActionLayout
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.kinematics.conversion import conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.sim.env import SimEnv


def env_converter(env: SimEnv, source: ActionLayout) -> ActionConverter:
    """What turns actions of the layout `source` into those of the environment.

    Raises LayoutError where the environment does not say what it takes, or the conversion is not exact.
    """
    taken = layout_of(env.action_feature)
    if taken is None:
        raise LayoutError(
            f"Environment {env.name!r} does not say what the numbers of its actions mean; its action feature needs "
            "a layout (docs/actions.md)."
        )
    try:
        made = conversion(source, taken, mounted=env.mounted, dt_s=1.0 / env.control_hz)
    except LayoutError as error:
        raise LayoutError(f"Environment {env.name!r}: {error}") from error
    return ActionConverter(made, env.observation_features, env)
