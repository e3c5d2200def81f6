"""`robolearn train POLICY --dataset X.zarr --output DIR`: train a policy by imitation."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robolearn.core import config as configuration
from robolearn.core.busy import BusyWatch
from robolearn.core.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from robolearn.execution.policy_spec import PolicySpec
    from robolearn.training.config import TrainConfig
    from robolearn.training.trainer import OnCheckpoint, Trainer

BUSY = "training takes longer than its steps a second say elsewhere (--num-threads 1 is often faster then)"


def main(argv: list[str]) -> int:
    from robolearn.policies.registry import POLICIES
    from robolearn.training.presets import PRESETS

    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: robolearn train POLICY [options]\n\nPOLICY: {', '.join(POLICIES)}")
        print(f"PRESET: {', '.join(PRESETS)}")
        print("Options of one: robolearn train POLICY --help")
        return 0
    name, options = argv[0], argv[1:]
    if name.startswith("-"):
        raise ConfigError(
            f"robolearn train takes the policy before its options, found {name}: robolearn train beso ..."
        )
    if name not in POLICIES:
        raise ConfigError(unknown_name("policy", name, POLICIES))
    watch = BusyWatch()
    as_json = "--json" in options
    options = [o for o in options if o != "--json"]
    under = _underlay(options, name)
    command = _command(name)
    description = (
        "Train a policy by imitation. --preset TASK lays a recorded configuration under these options "
        f"({', '.join(PRESETS)}), --config FILE.yaml one of your own."
    )
    taken = ("--preset", "--json")
    parsed: Any = configuration.parse(command, options, f"robolearn train {name}", description, under, taken)

    from robolearn.policies.device import describe_device
    from robolearn.training.config import TrainConfig
    from robolearn.training.trainer import Trainer

    run = TrainConfig(**{f.name: getattr(parsed, f.name) for f in dataclasses.fields(TrainConfig)})
    on_checkpoint, check_spec = None, None
    if run.eval_env is not None:
        on_checkpoint, check_spec = _evaluation(run, run.eval_env)
    trainer = Trainer(run, name, parsed.policy, as_json, on_checkpoint, check_spec)
    speaks = trainer.processes.is_first
    if speaks and not as_json:
        device = f"device: {describe_device(run.device, trainer.processes.device)}"
        told = (configuration.to_yaml(trainer.resolved()), trainer.summary, trainer.batches.memory, device)
        print(*told, sep="\n", flush=True)
    for note in _notes(run, trainer) if speaks else ():  # behind the configuration, which is long
        configuration.main_stderr(f"note: {note}")
    # other processes of the same run are no other programs
    if trainer.processes.world_size == 1 and (line := watch.line(BUSY)):
        configuration.main_stderr(line)
    begun_at = trainer.step
    result = trainer.run()
    if speaks and as_json:
        print(json.dumps(result.to_dict()))
    elif speaks:
        done = f"Trained to step {result.steps} in {result.duration_s:.0f} s."
        if begun_at >= run.steps:
            done = f"The run had all its {begun_at} steps; to go on, give more --steps."
        print(f"{done} Policy: {run.output}")
        print("Next:", shlex.join(_next_command(run, trainer)))
    return 0


def _notes(run: TrainConfig, trainer: Trainer) -> list[str]:
    """What is allowed and seldom meant."""
    found = [note] if (note := trainer.elements.note()) else []
    views = [view for view in trainer.corpus.views if view is not None]
    found += dict.fromkeys(view.description for view in views)
    found += [f"{view.name}: {inexact}" for view in views if (inexact := view.counts.describe())]
    if run.eval_env is not None:
        from robolearn.evaluation.run.evaluate import EvaluationConfig
        from robolearn.evaluation.run.seen_states import seen_states

        states = EvaluationConfig(run.eval_env, run.eval_episodes, run.eval_init_state).init_states()
        seen = seen_states({"start_states": trainer.corpus.start_states}, run.eval_env, states)
        found += [note] if (note := seen.note()) else []
    if run.warmup_steps > run.steps:
        reached = run.learning_rate * run.steps / run.warmup_steps
        found.append(
            f"--warmup-steps {run.warmup_steps} is more than --steps {run.steps}: the learning rate ends at "
            f"{reached:g}, short of {run.learning_rate:g}."
        )
    trained_on = {dataset.path.resolve() for dataset in trainer.corpus.datasets if dataset.is_local}
    if run.eval_goals is not None and run.eval_goal_mask is None and run.eval_goals.resolve() in trained_on:
        found.append(
            f"goals are the ends of episodes of {run.eval_goals}, which is trained on; hold some out with "
            "--masks and --eval-goal-mask."
        )
    return found


def _next_command(run: TrainConfig, trainer: Trainer) -> list[str]:
    """What evaluates the policy, with the same protocol as while it was trained."""
    env = run.eval_env or (trainer.corpus.sim_env or {}).get("name", "ENV")
    command = ["robolearn", "eval", "--policy", str(run.output), "--env", env]
    if trainer.policy.spec.goal_horizon:
        command += ["--goals", str(run.eval_goals or "DEMOS.zarr")]
    protocol = {
        "--goal-mask": run.eval_goal_mask, "--init-state": run.eval_init_state,
        "--execute": run.eval_execute, "--max-steps": run.eval_max_steps,
    }  # fmt: skip
    return command + [str(word) for option, value in protocol.items() if value is not None for word in (option, value)]


def _evaluation(run: TrainConfig, env: str) -> tuple[OnCheckpoint, Callable[[PolicySpec], None]]:
    """What evaluates a checkpoint in worker processes, results being kept in OUTPUT/evaluations/STEP.

    With it comes what raises, before the first step, for a policy that cannot be evaluated so.
    """
    from robolearn.evaluation.run.environment import open_world
    from robolearn.evaluation.run.evaluate import EvaluationConfig, evaluate
    from robolearn.evaluation.run.rollout import RolloutConfig
    from robolearn.evaluation.run.source import PolicySource
    from robolearn.execution.goals import GoalSource
    from robolearn.execution.receding_horizon import actions_per_chunk
    from robolearn.policies.device import choose_device

    config = EvaluationConfig(
        env,
        run.eval_episodes,
        run.eval_init_state,
        rollout=RolloutConfig(run.eval_execute, max_steps=run.eval_max_steps),
        workers=run.eval_workers,
        goals=None if run.eval_goals is None else GoalSource(run.eval_goals, run.eval_goal_mask),
    )

    def check_spec(spec: PolicySpec) -> None:
        if spec.goal_horizon and config.goals is None:
            raise ConfigError("This policy takes goals; give demonstrations of them with --eval-goals DATASET.zarr.")
        if config.goals is not None and not spec.goal_horizon:
            raise ConfigError("This policy takes no goals (--policy.goals is empty); leave out --eval-goals.")
        actions_per_chunk(spec, run.eval_execute, "--eval-execute")
        world, _, _ = open_world(spec, env, config.env_options, config.goals)
        world.close()

    def on_checkpoint(checkpoint: Path, step: int) -> dict[str, float]:
        source = PolicySource(checkpoint, device=str(choose_device(run.device)))
        results = evaluate(source, config, run.output / "evaluations" / f"{step:08d}")
        if results.aborted:
            configuration.main_stderr(f"evaluation at step {step}: {results.tally.beside}, not counted")
        return {"eval_success": results.success.value, "eval_score": results.score.value}

    return on_checkpoint, check_spec


def _underlay(options: list[str], policy: str) -> tuple[Mapping[str, Any], str] | None:
    """What lies under the command line: the preset and over it the file of `--config`, both taken out of `options`.

    A run that is resumed has its own file for `--config`.
    """
    task = configuration.take_option(options, "--preset", "the name of a task")
    path = configuration.take_option(options, "--config", "a yaml file")
    if path is None and "--resume" in options:
        output = configuration.take_option(list(options), "--output", "a folder")
        written = Path(output or "") / "config.yaml"
        path = str(written) if output and written.is_file() else None
    under: dict[str, Any] = {}
    if task is not None:
        from robolearn.training.presets import load_preset

        preset = load_preset(task, policy)
        under = {**preset.train, "policy": configuration.to_dict(preset.policy)}
    if path is not None:
        over = configuration.load_yaml(Path(path))
        trained = over.get("policy_name", policy)
        if trained != policy:
            raise ConfigError(
                f"{path} is the configuration of the policy {trained!r}; use: robolearn train {trained} --config {path}"
            )
        under = configuration.merged(under, over)
    return (under, path or f"preset {task}") if under else None


def _command(name: str) -> type:
    """TrainConfig with the policy's own options under `--policy.`.

    The name of the policy is part of the configuration that a run writes, so that it can be given back with --config.
    """
    import tyro

    from robolearn.policies.registry import config_of
    from robolearn.training.config import TrainConfig

    policy_config = config_of(name)
    return dataclasses.make_dataclass(
        "Train",
        [
            ("policy", policy_config, dataclasses.field(default_factory=policy_config)),
            ("policy_name", tyro.conf.Suppress[Literal[name]], dataclasses.field(default=name)),  # type: ignore
        ],
        bases=(TrainConfig,),
        frozen=True,
    )
