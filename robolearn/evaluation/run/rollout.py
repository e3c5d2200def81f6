"""One episode of a policy in an environment.

Time is simulated: step k happens at k / control_hz and inference takes none of it, but observations and actions go
through the same `RecedingHorizon` as on a robot. A chunk is asked for when `execute` actions of the last one have been
used:

    execute 2, horizon 4    step   0   1   2   3   4   5
                            chunk  A       B       C
                            action A0  A1  B0  B1  C0  C1
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robolearn.core.errors import ConfigError, FeatureError, MissingDependencyError, one_line
from robolearn.core.failure import debugging, explained, traceback_of
from robolearn.core.feature import require
from robolearn.evaluation.statistics.episode import EpisodeResult
from robolearn.execution.anchored import anchored
from robolearn.execution.chunk import predicted_actions
from robolearn.execution.goals import Goals
from robolearn.execution.match import Offer, converted_match
from robolearn.execution.policy import ActingPolicy
from robolearn.execution.policy_spec import PolicySpec
from robolearn.execution.receding_horizon import RecedingHorizon
from robolearn.kinematics.conversion import Conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.sim.env import SimEnv

OnStep = Callable[[SimEnv, int, bool], None]

# what a policy raises because of the machine or how it was called, and not because of what it has learned
_NOT_ITS_FAULT = (ConfigError, MissingDependencyError, MemoryError, OSError, torch.cuda.OutOfMemoryError)


@dataclass(frozen=True)
class RolloutConfig:
    """How episodes are run.

    Attributes:
        execute: actions used of each chunk before the next one is asked for; None is half of the chunk.
        seed: with the start state, the only source of the policy's random numbers.
        max_steps: ends episodes earlier than the environment would.
        arm: which of several arms the only one of the policy is, or the other way round; see `conversion`.
    """

    execute: int | None = None
    seed: int = 0
    max_steps: int | None = None
    arm: str | None = None


def check_environment(
    spec: PolicySpec, env: SimEnv, policy_name: str = "the policy", arm: str | None = None
) -> Conversion | None:
    """How actions of the policy become those of the environment; None where layouts are not known and they must agree.

    `arm`: see `conversion`. Raises FeatureError like `converted_match`, and when the environment scores by goals, but
    not by the policy's.
    """
    name = f"environment {env.name!r}"
    offer = Offer(name, env.observation_features, env.action_feature, env.control_hz, env.mounted)
    found = converted_match(spec, offer, policy_name, arm)
    if env.accepts_goal:
        require(spec.goal_features, env.observation_features, f"the goal of {policy_name}", offer.name)
    return found


def episode_generator(seed: int, init_state: int) -> torch.Generator:
    """Random numbers of one episode: a function of (seed, init_state), whatever ran before it."""
    state = np.random.SeedSequence([seed, init_state]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


@contextlib.contextmanager
def blamed_on(who: str) -> Iterator[None]:
    """Exceptions that leave the block tell in `blamed` whose they are."""
    try:
        yield
    except Exception as error:
        setattr(error, "blamed", who)  # noqa: B010
        raise


def run_episode(
    policy: ActingPolicy,
    env: SimEnv,
    init_state: int,
    config: RolloutConfig | None = None,
    policy_name: str = "the policy",
    on_step: OnStep | None = None,
    goals: Goals | None = None,
) -> EpisodeResult:
    """Run one episode from start state `init_state` until success, truncation or `config.max_steps`.

    Success means that `info["success"]` was true after some step. `on_step(env, step, success)` is called for
    the start state (step 0) and after every step. The goal of this start state goes to the policy, and to an
    environment that scores by goals.

    Anything but finite actions of the policy's shape is never stepped. Where a policy predicts such a thing, or raises,
    after actions of it were executed, the episode ends there, as what it is by then, with the `fault`: failing must not
    pay. At its first prediction, or because of the machine, that is raised. So is FeatureError when policy and
    environment do not match.

    Actions of a layout that the environment does not take are converted when they are carried out; what is relative to
    the newest observation is made absolute with the observation of its own chunk, see `anchored`.
    """
    config = config or RolloutConfig()
    policy = anchored(policy)
    conversion = check_environment(policy.spec, env, policy_name, config.arm)
    converts = conversion is not None and not conversion.identity
    converter = None if conversion is None else ActionConverter(conversion, env.observation_features, env)
    horizon = RecedingHorizon(policy.spec, config.execute)
    max_steps = env.max_steps if config.max_steps is None else min(config.max_steps, env.max_steps)
    generator = episode_generator(config.seed, init_state)

    started = time.perf_counter()
    inference_s: list[float] = []
    first_success: int | None = None
    scores: list[float] = []
    goal = goals.goal(init_state) if goals else None
    horizon.begin(goal)
    asked = {"goal": goal} if goal is not None and env.accepts_goal else {}
    with blamed_on("environment"):
        observation, info = env.reset(options={"init_state": init_state, **asked})
        if converter is not None:
            converter.start(observation)
    if on_step:
        on_step(env, 0, False)
    step = 0
    done = False
    fault: str | None = None
    while not done and step < max_steps:
        now_s = step / env.control_hz
        request = horizon.observe(observation, now_s)
        if request is not None:
            before = time.perf_counter()
            try:
                with blamed_on("policy"):
                    chunk = request.put_to(policy, generator)
                    inference_s.append(time.perf_counter() - before)
                    actions = _checked(chunk, policy.spec, f"{policy_name}, start state {init_state}, step {step}")
            except Exception as error:
                if step == 0 or isinstance(error, _NOT_ITS_FAULT):
                    raise
                if debugging():
                    print(traceback_of(error), file=sys.stderr)
                fault = one_line(explained(error, f"step {step}"))
                break
            horizon.scheduler.place(actions.reshape(len(actions), -1), now_s, now_s)
        scheduled = horizon.scheduler.action_at(now_s)
        assert scheduled is not None  # execute <= action_horizon, so the chunk covers this step
        action = scheduled.reshape(policy.spec.action_feature.shape)
        if converter is not None:
            told = converter.convert(action, observation)
            action = told.astype(env.action_feature.dtype) if converts else action
        with blamed_on("environment"):
            observation, _, terminated, truncated, info = env.step(action)
            if info.get("success") is None:
                raise FeatureError(f"Environment {env.name!r} does not say in info['success'] whether it is solved.")
            scores.append(float(info.get("score", info["success"])))
        step += 1
        if info["success"] and first_success is None:
            first_success = step
        done = bool(terminated or truncated)
        if on_step:
            on_step(env, step, first_success is not None)
    return EpisodeResult(
        init_state=init_state,
        success=first_success is not None,
        steps=step,
        first_success_step=first_success,
        max_score=max(scores, default=0.0),
        final_score=scores[-1] if scores else 0.0,
        mode=info.get("mode"),
        goal_episode=goals.episode(init_state) if goals else None,
        fault=fault,
        inexact=_inexact(converter, env, step),
        inferences=len(inference_s),
        mean_inference_ms=1e3 * float(np.mean(inference_s)) if inference_s else 0.0,
        wall_s=time.perf_counter() - started,
    )


def _inexact(converter: ActionConverter | None, env: SimEnv, steps: int) -> str | None:
    """What was not carried out as it was asked for, in words; None where everything was."""
    said = [converter.counts.describe()] if converter is not None else []
    if short := env.inexact():
        said.append(f"In {steps} steps {short}")
    return " ".join(filter(None, said)) or None


def _checked(chunk: Any, spec: PolicySpec, where: str) -> np.ndarray:
    try:
        return predicted_actions(chunk, spec)
    except FeatureError as error:
        raise FeatureError(f"{where}: {error}") from error
