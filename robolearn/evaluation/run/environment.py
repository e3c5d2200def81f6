"""The environment that a policy is run in: which of its layouts it takes, and what becomes of the actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.meaning import means_the_same
from robolearn.evaluation.run.rollout import check_environment
from robolearn.execution.anchored import anchored_spec
from robolearn.execution.goals import Goals, GoalSource, make_goals
from robolearn.kinematics.observed import relative_to_observation
from robolearn.sim.registry import make_env

if TYPE_CHECKING:
    from robolearn.execution.policy_spec import PolicySpec
    from robolearn.kinematics.conversion import Conversion
    from robolearn.sim.env import SimEnv


@dataclass(frozen=True)
class ActionRecord:
    """What becomes of a policy's actions in an environment.

    Attributes:
        taken: layout that the environment takes, as a map; None where it does not say it.
        description: one line, which conversion runs; None where layouts are not known.
        plain: whether they are taken as the policy gives them.
    """

    taken: dict[str, Any] | None
    description: str | None
    plain: bool

    @classmethod
    def of(cls, trained: PolicySpec, env: SimEnv, conversion: Conversion | None) -> ActionRecord:
        layout, taken = layout_of(trained.action_feature), layout_of(env.action_feature)
        known = None if taken is None else taken.to_dict()
        if conversion is None:
            return cls(known, None, True)
        plain = conversion.identity and not conversion.notes
        if not relative_to_observation(layout) or layout is None:
            return cls(known, conversion.description, plain)
        anchoring = f"actions are made absolute with the observation of their chunk: {layout.describe()}"
        then = "" if plain else f", then {conversion.description.removeprefix('actions are ')}"
        return cls(known, anchoring + then, False)


_SEEN_BY = {
    "cameras": "observation.images.",
    "depth": "observation.depth.",
    "segmentation": "observation.segmentation.",
}
"""Option of an environment -> how the features begin that it asks for."""


def image_options(spec: PolicySpec) -> dict[str, Any]:
    """`cameras`, and others that see more than colours, and `image_size` that make an environment give the images a
    policy was trained on.
    """
    found: dict[str, Any] = {}
    for name, feature in spec.observation_features.items():
        kind = next((option for option, prefix in _SEEN_BY.items() if name.startswith(prefix)), "cameras")
        if feature.kind in ("image", "depth"):
            found[kind] = (*found.get(kind, ()), name.removeprefix(_SEEN_BY[kind]))
            found.setdefault("image_size", feature.shape[0])
    return found


def open_world(
    spec: PolicySpec,
    env: str,
    env_options: dict[str, Any],
    goals: GoalSource | None,
    policy_name: str = "the policy",
    arm: str | None = None,
) -> tuple[SimEnv, Goals | None, ActionRecord]:
    """The environment and the goals that a policy with this `spec` is run with, and what becomes of its actions.

    An environment that takes several layouts takes the policy's own, unless `env_options` say another.

    Raises like `make_env`, `check_environment` and `make_goals` where they do not fit the policy.
    """
    options, acting = {**image_options(spec), **env_options}, anchored_spec(spec)
    world = make_env(env, **options)
    try:
        layout = layout_of(acting.action_feature)
        if (
            layout is not None
            and options.get("action") is None
            and not means_the_same(acting.action_feature, world.action_feature)
            and world.takes(layout)
        ):
            world.close()
            world = make_env(env, **{**options, "action": layout})
        conversion = check_environment(acting, world, policy_name, arm)
        return world, make_goals(goals, acting, policy_name), ActionRecord.of(spec, world, conversion)
    except Exception:
        world.close()
        raise
