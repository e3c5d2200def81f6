"""The training loop, once, for every policy."""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from robolearn.core import config as configuration
from robolearn.core.errors import ConfigError
from robolearn.core.interrupt import StopRequest
from robolearn.core.normalizer import Normalizer
from robolearn.core.output import refuse_held
from robolearn.core.process import usable_cores
from robolearn.core.provenance import provenance
from robolearn.datasets.loader import Source
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import NORMALIZER, check_unchanged, load_provenance, make_policy, save_policy
from robolearn.policies.registry import config_of
from robolearn.training import continuation, state
from robolearn.training.checkpoints import Checkpoints
from robolearn.training.config import TrainConfig, TrainResult
from robolearn.training.corpus import ACTION, Corpus, vector_features
from robolearn.training.data import WindowBatches, on_device
from robolearn.training.distributed import Processes
from robolearn.training.elements import survey
from robolearn.training.guard import DivergedError, save_batch, weights_are_finite
from robolearn.training.interval import Interval
from robolearn.training.memory import keep_freed_memory
from robolearn.training.metrics import MetricsWriter, read_metrics
from robolearn.training.progress import ProgressLine
from robolearn.training.state import load_training_state, save_training_state
from robolearn.training.step import Step, derived_seed
from robolearn.training.validation import action_error, validation_loss

OnCheckpoint = Callable[[Path, int], Mapping[str, float]]


class _CutOff(BaseException):
    """Leaves an evaluation from within a signal's handler."""


class _Evaluation:
    """An evaluation that takes minutes and that a stop ends at once, as its checkpoint is saved already."""

    def __init__(self) -> None:
        self._running = self.was_cut_off = False

    def stop(self) -> None:
        if self._running:
            raise _CutOff

    def run(self, evaluate: Callable[[], Mapping[str, float]], stopped: bool) -> dict[str, float] | None:
        """What `evaluate` returns; None where it was cut off, or would be."""
        try:
            self._running = True
            values = None if stopped else dict(evaluate())
            self._running = False
        except _CutOff:
            values = None
        finally:
            self._running = False
        self.was_cut_off = values is None
        return values


class Trainer:
    """Trains one policy.

    A run is a function of its configuration and its data: batches, noise and dropout are drawn from the seed and the
    number of the step, so one that was killed and resumed continues the same curve.

    Args:
        config: the run.
        name: registered name of the policy.
        policy_config: the policy's own dataclass.
        quiet: no progress line.
        on_checkpoint: called with every checkpoint that is due to be evaluated and its step; what it returns becomes
            metrics of that step and part of the checkpoint's provenance.
        check_spec: called with the policy's data contract before anything is fitted, built or written; what it raises
            ends the run there.
    """

    def __init__(
        self,
        config: TrainConfig,
        name: str,
        policy_config: Any,
        quiet: bool = False,
        on_checkpoint: OnCheckpoint | None = None,
        check_spec: Callable[[PolicySpec], None] | None = None,
    ):
        self.config, self.name = config, name
        config_of(name)
        self._on_checkpoint = on_checkpoint
        self.checkpoints = Checkpoints(config.output, config.keep_every)
        self.checkpoints.require(config.resume)
        if config.resume and self.checkpoints.last is not None:
            check_unchanged(self.checkpoints.last, sealed=state.FILES)
            continuation.require_same_options(self.checkpoints.last, config, name, policy_config)
        self.processes = Processes(config.device)
        if self.processes.is_first:
            refuse_held(config.output)  # before the slow part; held while it runs
        self._quiet = quiet or not self.processes.is_first
        if self.processes.device.type == "cpu":
            keep_freed_memory()
        torch.set_num_threads(config.num_threads or max(1, usable_cores() // self.processes.local_size))
        torch.manual_seed(derived_seed(config.seed))
        self.corpus = Corpus(
            config.datasets, config.masks, config.weights, config.val_ratio, config.seed, config.action
        )
        spec = self.corpus.spec(policy_config)
        if check_spec is not None:
            check_spec(spec)
        resumed = self.checkpoints.last if config.resume else None
        vectors, kinds = self.corpus.vectors(spec), vector_features(spec)
        if resumed is None:
            normalizer = Normalizer.fit(vectors, kinds)
        else:
            continuation.require_same_data(resumed, self.corpus.identity())
            normalizer = Normalizer.load(resumed / NORMALIZER)
        self.policy = make_policy(name, policy_config, spec, normalizer).to(self.processes.device)
        clip = getattr(policy_config, "clip", None)
        self.elements = survey(vectors, kinds, normalizer, ACTION, clip, self.corpus.rows())
        del vectors
        self.batches = self._batches(self.corpus.train, self.processes.rank, self.processes.world_size)
        self.val_batches = self._batches(self.corpus.val) if self.corpus.val and self.processes.is_first else None
        rows = self.batches.batch_size // self.processes.world_size
        if rows % config.accumulate:
            raise ConfigError(f"--accumulate {config.accumulate} does not divide the {rows} windows of a process.")
        self._step = Step(self.policy, config, self.processes)
        self._interval = Interval()
        self.step = 0
        self._evaluation = _Evaluation()
        if resumed is not None:
            counters = load_training_state(resumed, self._step)
            self.step = counters["step"]
            self._interval.restore(counters["interval"])

    def resolved(self) -> dict[str, Any]:
        """The whole configuration, as it is written and can be given back with `--config`."""
        run = configuration.to_dict(dataclasses.replace(self.config, resume=False))
        return {"policy_name": self.name, **run, "policy": configuration.to_dict(self.policy.config)}

    @property
    def summary(self) -> str:
        """One line: `1031714 parameters; 202 episodes to train on (25107 windows), 4 to validate`."""
        episodes = "episode" if self.corpus.num_train == 1 else "episodes"
        train = f"{self.corpus.num_train} {episodes} to train on ({len(self.batches)} windows)"
        return f"{self._parameters} parameters; {train}, {self.corpus.num_val} to validate"

    @property
    def _parameters(self) -> int:
        return sum(p.numel() for p in self.policy.parameters())

    def run(self) -> TrainResult:
        """Train to the last step. Ctrl-C or SIGTERM ends the step, saves a checkpoint and is then passed on.

        Raises DivergedError when a loss, gradient or weight is no longer finite, ConfigError when another process
        trains into the same folder.
        """
        if not self.processes.is_first:
            return self._run()
        with self.checkpoints.held():
            with self.checkpoints.writing("the configuration"):
                configuration.save_yaml(self.resolved(), self.config.output / "config.yaml")
            return self._run()

    def _run(self) -> TrainResult:
        c, start = self.config, time.monotonic()
        with self.checkpoints.writing("the metrics"):
            writer = MetricsWriter(c.output, resume_step=self.step) if self.processes.is_first else None
        seen: dict[str, float] = {}
        try:
            with (
                StopRequest(self._evaluation.stop) as stop,
                ProgressLine(self.name, self.step, c.steps, self._quiet) as progress,
            ):

                def report(values: Mapping[str, float]) -> None:
                    finite = {name: value for name, value in values.items() if math.isfinite(value)}
                    seen.update(finite)
                    progress.show(finite)
                    if writer is not None and finite:
                        with self.checkpoints.writing("the metrics"):
                            writer.write(self.step, **finite)

                if self.step and self.checkpoints.last is not None:
                    report(self._evaluate(self.checkpoints.last, stop))
                while self.step < c.steps and not self.processes.any(stop()):
                    busy_s, waited_s = self._train_step()
                    if self._logs():
                        report(self._summary())
                    if c.saves(self.step):
                        report(self._validate())
                        report(self._evaluate(self.save(), stop))
                    progress.advance(self.step, busy_s, waited_s)
                if self.step < c.steps:
                    self.save()
        finally:
            if writer is not None:
                writer.close()
            self.batches.close()
        self.processes.close()
        if self.step < c.steps or self._evaluation.was_cut_off:
            if self.processes.is_first:
                configuration.main_stderr(f"Stopped at step {self.step}; go on with --resume.")
            raise KeyboardInterrupt if stop.signal == signal.SIGINT else SystemExit(stop.exit_status)
        assert self.checkpoints.last is not None
        duration_s = time.monotonic() - start
        return TrainResult(self.checkpoints.last, self.step, seen.get("loss"), seen.get("val_loss"), duration_s)

    def _train_step(self) -> tuple[float, float]:
        """One step. Returns how long it took and how much of that was waiting for the batch, in seconds."""
        began = time.perf_counter()
        batch = on_device(self.batches.at(self.step), self.processes.device)
        waited_s = time.perf_counter() - began
        loss, norm = self._step.gradients(self.step, batch)
        self._interval.add(loss, norm)
        # a graphics card is only asked when its answer is wanted anyway: each look waits for all its work
        if self.processes.device.type == "cpu" or self._logs(self.step + 1) or self.config.saves(self.step + 1):
            self._require_finite_step()
        self._rate = self._step.apply(self.step)
        self.step += 1
        if self._logs() or self.config.saves(self.step):
            self._require_finite_weights()
        busy_s = time.perf_counter() - began
        self._interval.add_time(busy_s, waited_s)
        return busy_s, waited_s

    def _logs(self, step: int | None = None) -> bool:
        step = self.step if step is None else step
        return step % self.config.log_every == 0 or step == self.config.steps

    def _summary(self) -> dict[str, float]:
        """Metrics of the interval that ends here."""
        values = {**self._interval.summary(self.processes), "lr": self._rate}
        self._interval.clear()
        return values

    def _validate(self) -> dict[str, float]:
        """Metrics of the averaged weights on held-out episodes; none where nothing is held out."""
        if self.val_batches is None:
            return {}
        device = self.processes.device
        self.policy.eval()
        with self._step.ema.applied():
            return {
                "val_loss": validation_loss(self.policy, self.val_batches, device),
                "action_error": action_error(
                    self.policy.prepared(), self.val_batches, device, ~self.elements.constant[ACTION]
                ),
            }

    def _evaluate(self, checkpoint: Path, stop: Callable[[], bool]) -> dict[str, float]:
        """Metrics of a checkpoint in simulation, where that is due and has not been done. A stop cuts it off."""
        if self._on_checkpoint is None or not self.config.evaluates(self.step) or not self.processes.is_first:
            return {}
        if "evaluation" in load_provenance(checkpoint):
            return {}
        values = self._evaluation.run(partial(self._on_checkpoint, checkpoint, self.step), stop())
        if values is None:
            return {}  # made up for when the run goes on
        self.checkpoints.note(checkpoint, {"evaluation": values})
        return values

    def save(self) -> Path:
        """Write a checkpoint of this step with the averaged weights, point `last` to it, clear away older ones."""
        counters = {"step": self.step, "interval": self._interval.state(self.processes)}

        def write(folder: Path) -> None:
            record = {
                **provenance(),
                **self.corpus.identity(),
                "seed": self.config.seed,
                "step": self.step,
                "dataset": self.corpus.name,
                "dataset_sim_env": self.corpus.sim_env,
                "start_states": self.corpus.start_states,
                "parameters": self._parameters,
                "training": configuration.to_dict(self.config),
                "processes": self.processes.world_size,
                "curve": read_metrics(self.config.output / "metrics.jsonl"),
            }
            save_training_state(folder, self._step, counters)
            save_policy(folder, self.name, self.policy, self._step.ema.averaged, record, sealed=state.FILES)

        if self.processes.is_first:
            self.checkpoints.save(self.step, write)
        self.processes.wait()
        assert self.checkpoints.last is not None
        return self.checkpoints.last

    def _require_finite_step(self) -> None:
        """Raise DivergedError for the first loss or gradient of the interval that is not finite."""
        # scaled float16 gradients overflow now and then: such steps are left out and the scale is halved
        scaler = self._step.scaler
        bad = self._interval.first_not_finite(with_norms=not scaler.is_enabled() or scaler.get_scale() < 1)
        if bad is None:
            return
        step = self.step + 1 - len(self._interval) + bad
        if step and not weights_are_finite(self.policy) and self.processes.device.type == "cpu":
            raise self._diverged("The weights became non-finite", step - 1)
        loss, norm = self._interval.losses()[bad], self._interval.norms()[bad]
        raise self._diverged(f"The loss became {loss:g}, its gradient's norm {norm:g},", step)

    def _require_finite_weights(self) -> None:
        if not weights_are_finite(self.policy):
            raise self._diverged("The weights became non-finite", self.step - 1)

    def _diverged(self, what: str, step: int) -> DivergedError:
        mark = f"-{self.processes.rank}" if self.processes.world_size > 1 else ""
        file = self.config.output / f"diverged-{step:08d}{mark}.safetensors"
        save_batch(file, step, self.batches.at(step), self.batches.origin(step))
        left = "there is no checkpoint yet" if self.checkpoints.last is None else "the last checkpoint is intact"
        return DivergedError(
            f"{what} at step {step}; its batch is kept in {file}, {left}. Try a lower --learning-rate."
        )

    def _batches(self, sources: list[Source], rank: int = 0, world_size: int = 1) -> WindowBatches:
        c = self.config
        return WindowBatches(
            sources, self.policy.spec, None, c.batch_size, c.seed, cache=c.cache, workers=c.loader_workers,
            shifts=self.policy.normalizer.shift, rank=rank, world_size=world_size,
        )  # fmt: skip


def train(
    config: TrainConfig, name: str, policy_config: Any, quiet: bool = False, on_checkpoint: OnCheckpoint | None = None
) -> TrainResult:
    """Train and return what came out. See `Trainer`."""
    if dataclasses.is_dataclass(policy_config):
        return Trainer(config, name, policy_config, quiet, on_checkpoint).run()
    raise ConfigError(f"The policy configuration must be a dataclass, found {type(policy_config).__name__}.")
