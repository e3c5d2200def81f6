"""Schedulers of diffusers by the name of their class, made for the noise that a network was trained with.

`DPMSolverMultistepScheduler`, `UniPCMultistepScheduler`, `HeunDiscreteScheduler` and whatever else diffusers has: what
a scheduler can do is read off its signature. It must take a noise schedule of betas and the network's prediction type;
what was decided in training is handed to it and cannot be said again. The others are refused with the reason: flow
matching, EDM, discrete tokens, networks distilled for few steps. `SchedulerRun` then tries it on a known answer.

diffusers is imported when one of its schedulers is asked for, and not before.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeGuard, get_args

from robolearn.core.config import from_dict
from robolearn.core.errors import ConfigError, MissingDependencyError, closest, one_line, unknown_name
from robolearn.core.pins import install_line
from robolearn.policies.ddpm import BETA_END, BETA_START, NoiseSchedule, Scheduler, Spacing

SUFFIX = "Scheduler"  # what the names of diffusers' classes end with, and ours do not
EXAMPLE = "DPMSolverMultistepScheduler"

Option = bool | int | float | str

LARGEST = 10_000  # whole number of an option: some are lengths of lists

_TRAINED = "it is decided by the noise that the policy was trained with"
_CLIPPED = "say it with the policy's clip"
_FLOW = "it is of flow matching, which the policy was not trained for"
_CHURN = "its steps add that noise after the network has looked at the chunk, so that it is never taken out"
_OWN_NOISE = "it draws its noise from a seed of its own instead of the policy's generator"
_RESERVED = {
    "num_train_timesteps": _TRAINED, "beta_start": _TRAINED, "beta_end": _TRAINED, "beta_schedule": _TRAINED,
    "trained_betas": _TRAINED, "prediction_type": _TRAINED, "rescale_betas_zero_snr": _TRAINED,
    "snr_shift_scale": _TRAINED, "clip_sample": _CLIPPED, "clip_sample_range": _CLIPPED, "use_flow_sigmas": _FLOW,
    "flow_shift": _FLOW, "use_dynamic_shifting": _FLOW, "time_shift_type": _FLOW, "shift_terminal": _FLOW,
    "s_churn": _CHURN, "s_tmin": _CHURN, "s_tmax": _CHURN, "s_noise": _CHURN,
}  # fmt: skip
_STEP_OWN = ("self", "model_output", "timestep", "sample", "generator", "return_dict", "prev_timestep")


def is_ours(name: str) -> TypeGuard[Scheduler]:
    return name in get_args(Scheduler)


def check_scheduler(name: str, options: Mapping[str, Option]) -> None:
    """Raise ConfigError for a name that is neither ours nor diffusers', and for options of one that has none."""
    if is_ours(name) and options:
        raise ConfigError(
            f"scheduler_options are of diffusers' schedulers, found {name!r} with {', '.join(options)}; name a class "
            f"of diffusers, such as {EXAMPLE}, or leave no options (scheduler_options={{}})."
        )
    if not is_ours(name) and not name.endswith(SUFFIX):
        # Did you mean 'ddim'? is said without importing diffusers
        told = unknown_name("scheduler", name, get_args(Scheduler)).rstrip(".")
        raise ConfigError(f"{told}; and diffusers' classes, such as {EXAMPLE}.")


def make_scheduler(
    name: str, options: Mapping[str, Option], schedule: NoiseSchedule, steps: int, spacing: Spacing, clip: float
) -> tuple[Any, dict[str, Any]]:
    """A prepared scheduler, and those of the options that belong to its `step`.

    Args:
        name: class of diffusers.
        options: keywords of its constructor, or numbers of its `step` such as `eta`.
        spacing: "trailing" is handed to the scheduler; with "leading" it keeps its own `timestep_spacing`.
        clip: handed to schedulers that clip.

    Raises ConfigError for a class that is unknown or does not fit, and for options that it does not have or that
    contradict training; MissingDependencyError without diffusers.
    """
    if steps > schedule.steps:
        raise ConfigError(f"sampling_steps must lie in 1..{schedule.steps} (the training steps), found {steps}.")
    kind = _class_of(name)
    made, stepped = _parameters(kind), _parameters(getattr(kind, "step", None))
    _check_kind(name, made, stepped, schedule)
    given = _options(name, options, made, stepped)
    fixed = {
        "num_train_timesteps": schedule.steps, "beta_start": BETA_START, "beta_end": BETA_END,
        "beta_schedule": schedule.betas, "prediction_type": schedule.prediction, "snr_shift_scale": 1.0,
        "clip_sample": clip < math.inf, "clip_sample_range": clip,
        **({"timestep_spacing": spacing} if spacing != "leading" else {}),
    }  # fmt: skip
    arguments = {k: v for k, v in fixed.items() if k in made} | {k: v for k, v in given.items() if k in made}
    try:
        scheduler = kind(**arguments)
        scheduler.set_timesteps(steps)
    except Exception as error:  # whatever a scheduler of another package raises
        raise ConfigError(f"{name}: {one_line(error)}") from error
    times = scheduler.timesteps.tolist()
    if not times:
        raise ConfigError(f"{name} leaves no noise level to sample at; take other scheduler_options.")
    if times[0] < times[-1]:
        raise ConfigError(f"{name} goes from actions to noise, expected a scheduler that goes from noise to actions.")
    return scheduler, {k: v for k, v in given.items() if k not in made}


def _class_of(name: str) -> type:
    try:
        from diffusers import schedulers
    except ImportError as error:
        raise MissingDependencyError(
            f"The scheduler {name} is of diffusers, which is not installed ({one_line(error)}); "
            f"type: {install_line('train')}"
        ) from error
    known = [n for n in dir(schedulers) if n.endswith(SUFFIX)]
    if name not in known:
        guess = closest(name, known)
        hint = f" Did you mean {guess!r}?" if guess else ""
        raise ConfigError(f"diffusers has no scheduler {name!r}.{hint} Known: {', '.join(sorted(known))}.")
    kind = getattr(schedulers, name, None)
    lacking = [package for package in getattr(kind, "_backends", ()) if importlib.util.find_spec(package) is None]
    if "torchsde" in lacking:  # no use to install it
        raise _unfit(name, _OWN_NOISE)
    if lacking:  # diffusers has a placeholder in its place
        raise MissingDependencyError(f"{name} needs {' and '.join(lacking)}; type: pip install {' '.join(lacking)}")
    if not inspect.isclass(kind) or not hasattr(kind, "set_timesteps"):
        raise ConfigError(f"{name} is no longer in diffusers; name another of its schedulers, such as {EXAMPLE}.")
    return kind


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    if function is None:
        return {}
    try:
        return dict(inspect.signature(function, eval_str=True).parameters)
    except Exception:  # annotations that only type checkers can read
        return dict(inspect.signature(function).parameters)


def _unfit(name: str, reason: str) -> ConfigError:
    return ConfigError(f"{name} does not fit a diffusion policy: {reason}.")


def _check_kind(
    name: str, made: Mapping[str, Any], stepped: Mapping[str, inspect.Parameter], schedule: NoiseSchedule
) -> None:
    """Raise ConfigError for a scheduler that cannot sample from the network, by what it can be told."""

    if "beta_schedule" not in made:
        raise _unfit(name, "it takes no beta_schedule, so that its noise is not what the policy was trained with")
    needed = [n for n, p in stepped.items() if n not in _STEP_OWN and p.default is p.empty]
    if needed:
        raise _unfit(name, f"each of its steps needs {' and '.join(needed)}, which there is not")
    if "prediction_type" not in made:
        raise _unfit(name, "it takes no prediction_type")
    if "original_inference_steps" in made:
        raise _unfit(name, "it is for networks that were distilled into consistency models")
    if "noise_sampler_seed" in made:
        raise _unfit(name, _OWN_NOISE)
    takes = [hint for hint in get_args(made["prediction_type"].annotation) if isinstance(hint, str)]
    if takes and schedule.prediction not in takes:
        raise ConfigError(
            f"{name} takes predictions of {' or '.join(map(repr, takes))}, found a policy that predicts "
            f"{schedule.prediction!r}."
        )


def _options(
    name: str, options: Mapping[str, Option], made: Mapping[str, Any], stepped: Mapping[str, Any]
) -> dict[str, Any]:
    """The options in the types that the scheduler declares. Raises ConfigError for those that cannot be given."""
    for option, value in options.items():
        if option in _RESERVED and (option in made or option in stepped):
            raise ConfigError(f"scheduler_options: {name} cannot be given {option}: {_RESERVED[option]}.")
        if option == "variance_type" and str(value).startswith("learned"):
            raise ConfigError(f"scheduler_options: {name} with variance_type={value} needs a network that predicts "
                              "variances, found one that does not.")  # fmt: skip
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ConfigError(f"scheduler_options: {name} with {option}={value}, expected at most {LARGEST}.")
    parameters = {**{n: p for n, p in stepped.items() if n not in _STEP_OWN}, **made}
    fields = [
        (n, _hint(p), dataclasses.field(default=None))
        for n, p in parameters.items()
        if n not in _RESERVED and n != "self" and _is_scalar(_hint(p))
    ]
    accepted: Any = from_dict(dataclasses.make_dataclass(name, fields), options, where=f"scheduler_options of {name}")
    return {option: getattr(accepted, option) for option in options}


def _hint(parameter: inspect.Parameter) -> Any:
    """What it is declared as, without the text form of postponed annotations; Any where that is unknown."""
    return Any if isinstance(parameter.annotation, str) else parameter.annotation


def _is_scalar(hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return all(_is_scalar(one) for one in get_args(hint))
    return hint in (bool, int, float, str, type(None)) or typing.get_origin(hint) is typing.Literal
