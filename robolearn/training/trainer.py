"""The training loop, once, for every policy."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robolearn.core import config as configuration
from robolearn.core.errors import ConfigError, DatasetError, RobolearnError, unknown_name
from robolearn.core.feature import features
from robolearn.core.interrupt import StopRequest
from robolearn.core.process import usable_cores
from robolearn.core.provenance import provenance
from robolearn.datasets.loader import finite_array, select_episodes, steps_of
from robolearn.datasets.normalizer import Normalizer
from robolearn.datasets.reader import Dataset
from robolearn.datasets.sampler import split_episodes
from robolearn.policies.base import Policy
from robolearn.policies.checkpoint import load_provenance, make_policy, save_policy
from robolearn.policies.spec import PolicySpec
from robolearn.training.config import TrainConfig, TrainResult
from robolearn.training.data import WindowBatches
from robolearn.training.ema import Ema
from robolearn.training.metrics import MetricsWriter, read_metrics
from robolearn.training.schedule import warmup_cosine
from robolearn.training.state import load_training_state, save_training_state

ACTION = "action"


class Trainer:
    """Trains one policy on one dataset.

    Args:
        config: the run.
        name: registered name of the policy.
        policy_config: the policy's own dataclass.
        quiet: no progress bar.
    """

    def __init__(self, config: TrainConfig, name: str, policy_config: Any, quiet: bool = False):
        self.config, self.name, self.quiet = config, name, quiet
        self._check_output()
        torch.set_num_threads(config.num_threads or usable_cores())
        torch.manual_seed(config.seed)
        self.dataset = Dataset(config.dataset)
        self._usable = _usable_episodes(self.dataset, config.masks)
        chosen = split_episodes(len(self._usable), config.val_ratio, config.seed)
        train, val = (self._usable[part] for part in chosen)
        self.policy = _policy_for(self.dataset, self._usable, name, policy_config)
        try:
            self.policy.to(torch.device(config.device))
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"--device {config.device} cannot be used: {str(error).splitlines()[0]}") from error
        self.batches = WindowBatches(self.dataset, self.policy, train, config.batch_size, config.seed)
        self.val_batches = (
            WindowBatches(self.dataset, self.policy, val, config.batch_size, config.seed) if len(val) else None
        )
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.policy, config.weight_decay), lr=config.learning_rate, betas=config.betas
        )
        self.ema = Ema(self.policy, config.ema.power, config.ema.max_decay)
        self.step = 0
        last = config.output / "checkpoints" / "last"
        if config.resume:
            _check_continues(load_provenance(last), self._identity())
            self.step = load_training_state(last, self.policy, self.optimizer, self.ema)
        # only now: a dataset or policy that is refused leaves no empty folder behind
        (config.output / "checkpoints").mkdir(parents=True, exist_ok=True)
        resolved = configuration.to_dict(dataclasses.replace(config, resume=False))
        configuration.save_yaml(
            {"policy_name": name, **resolved, "policy": configuration.to_dict(policy_config)},
            config.output / "config.yaml",
        )

    def run(self) -> TrainResult:
        """Train to the last step. Ctrl-C or SIGTERM ends the step, saves a checkpoint and is then passed on."""
        c, start = self.config, time.monotonic()
        writer = MetricsWriter(c.output, resume_step=self.step)
        loss = val_loss = math.nan
        try:
            with StopRequest() as stop, self._progress() as advance:
                while self.step < c.steps and not stop():
                    loss = self._train_step(writer)
                    if self.step % c.checkpoint_every == 0 or self.step == c.steps:
                        val_loss = self.validation_loss()
                        if math.isfinite(val_loss):
                            writer.write(self.step, val_loss=val_loss)
                        self.save()
                    advance(self.step, loss, val_loss)
                if self.step < c.steps:
                    self.save()
        finally:
            writer.close()
        if self.step < c.steps:
            configuration.main_stderr(f"Stopped at step {self.step}; go on with --resume.")
            raise KeyboardInterrupt if stop.signal == signal.SIGINT else SystemExit(stop.exit_status)
        checkpoint = (c.output / "checkpoints" / "last").resolve()
        last_loss, val = (None if math.isnan(value) else value for value in (loss, val_loss))
        return TrainResult(checkpoint, self.step, last_loss, val, time.monotonic() - start)

    def _train_step(self, writer: MetricsWriter) -> float:
        c = self.config
        rate = c.learning_rate * warmup_cosine(self.step, c.steps, c.warmup_steps, c.final_learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        waiting = time.perf_counter()
        batch = {k: v.to(c.device) for k, v in self.batches.at(self.step).items()}
        waited = time.perf_counter() - waiting
        self.policy.train()
        with self._autocast():
            loss = self.policy.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), c.max_grad_norm)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(norm)):
            raise RobolearnError(
                f"The loss became {value} at step {self.step} (gradient norm {float(norm)}); the last checkpoint is "
                "intact. Try a lower --learning-rate."
            )
        self.optimizer.step()
        self.ema.update()
        self.step += 1
        if self.step % c.log_every == 0 or self.step == c.steps:
            writer.write(self.step, loss=value, lr=rate, grad_norm=float(norm), data_wait_s=waited)
        return value

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean loss of the averaged weights on held-out episodes, with fixed noise; NaN without such episodes."""
        if self.val_batches is None:
            return math.nan
        current = {k: v.clone() for k, v in self.policy.state_dict().items()}
        self.policy.load_state_dict(self.ema.averaged)
        self.policy.eval()
        total, count = 0.0, 0
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                for batch in self.val_batches.all():
                    size = len(batch[ACTION])
                    total += float(self.policy.loss({k: v.to(self.config.device) for k, v in batch.items()})) * size
                    count += size
        finally:
            self.policy.load_state_dict(current)
        return total / count

    def save(self) -> Path:
        """Write a checkpoint of this step, point `last` to it, then delete the one before."""
        folder = self.config.output / "checkpoints"
        final, partial = folder / f"{self.step:08d}", folder / f"{self.step:08d}.partial"
        if (folder / "last").resolve() == final.resolve() and final.is_dir():
            return final
        shutil.rmtree(partial, ignore_errors=True)
        record = {
            **provenance(),
            **self._identity(),
            "step": self.step,
            "dataset": self.dataset.name,
            "dataset_sim_env": self.dataset.sim_env,
            "parameters": sum(p.numel() for p in self.policy.parameters()),
            "training": configuration.to_dict(self.config),
            "curve": read_metrics(self.config.output / "metrics.jsonl"),
        }
        save_policy(partial, self.name, self.policy, self.ema.averaged, record)
        save_training_state(partial, self.policy, self.optimizer, self.ema, self.step)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        link = folder / "last.partial"
        link.unlink(missing_ok=True)
        link.symlink_to(final.name)
        os.replace(link, folder / "last")
        for older in folder.iterdir():
            if older.is_dir() and not older.is_symlink() and older.name != final.name:
                shutil.rmtree(older, ignore_errors=True)
        return final

    def _identity(self) -> dict[str, Any]:
        """What decides the order of the batches: a run that goes on must have it alike."""
        return {
            "seed": self.config.seed,
            "dataset_checksum": self.dataset.checksum(),
            "episodes_used": len(self._usable),
        }

    def _check_output(self) -> None:
        folder = self.config.output
        if (folder / "checkpoints" / "last").exists() and not self.config.resume:
            raise ConfigError(
                f"{folder} holds a training run already; add --resume to go on, or choose another --output."
            )
        if self.config.resume and not (folder / "checkpoints" / "last").exists():
            raise ConfigError(f"Nothing to resume: {folder} holds no checkpoint. Leave --resume out to start.")

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.config.device).type, dtype=torch.bfloat16)

    @contextlib.contextmanager
    def _progress(self) -> Any:
        columns = (
            TextColumn("train {task.fields[policy]}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} steps/s  loss {task.fields[loss]:.4f}  val {task.fields[val]:.4f}"),
            TimeRemainingColumn(),
        )  # fmt: skip
        bar = Progress(*columns, disable=self.quiet)
        start, first = time.monotonic(), self.step
        plain = not self.quiet and not bar.console.is_terminal
        last_line = start
        with bar if not plain else contextlib.nullcontext():
            task = bar.add_task(
                "", total=self.config.steps, completed=self.step, policy=self.name, rate=0.0, loss=math.nan,
                val=math.nan,
            )  # fmt: skip

            def advance(step: int, loss: float, val: float) -> None:
                nonlocal last_line
                now = time.monotonic()
                rate = (step - first) / max(now - start, 1e-9)
                if plain and (now - last_line > 10 or step == self.config.steps):
                    last_line = now
                    left = (self.config.steps - step) / max(rate, 1e-9)
                    print(
                        f"train {self.name}: step {step}/{self.config.steps}  loss {loss:.4f}  val {val:.4f}  "
                        f"{rate:.1f} steps/s  {left:.0f} s left",
                        flush=True,
                    )
                bar.update(task, completed=step, rate=rate, loss=loss, val=val)

            yield advance


def _usable_episodes(dataset: Dataset, masks: tuple[str, ...]) -> np.ndarray:
    """Indices of the episodes to train and validate on. Raises DatasetError when there are none."""
    if dataset.num_episodes == 0:
        raise DatasetError(f"{dataset.name} holds no episode yet; record some first.")
    return np.intersect1d(select_episodes(dataset, masks), dataset.intact_episodes)


def _policy_for(dataset: Dataset, usable: np.ndarray, name: str, policy_config: Any) -> Policy:
    """The untrained policy with the features it asks for, and statistics of the episodes used."""
    available = dataset.features
    wanted = policy_config.observations
    if ACTION not in available:
        raise DatasetError(f"{dataset.name} has no feature 'action'; it has: {', '.join(sorted(available))}.")
    for feature in wanted:
        if feature not in available:
            raise ConfigError(f"{dataset.name}: " + unknown_name("feature", feature, available))
    rows = steps_of(dataset.episode_ends, usable)
    chosen = features([available[f] for f in wanted])
    spec = PolicySpec(chosen, available[ACTION], policy_config.obs_horizon, policy_config.action_horizon, dataset.fps)
    used = {**chosen, ACTION: available[ACTION]}
    vectors = {n: finite_array(dataset, n, usable)[rows] for n, f in used.items() if f.kind in ("state", "action")}
    normalizer = Normalizer.fit(vectors, {n: used[n] for n in vectors})
    return make_policy(name, policy_config, spec, normalizer)


def _check_continues(record: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ConfigError when a run would go on with other data: its normaliser and order of batches would not fit."""
    for name, value in now.items():
        if record.get(name) != value:
            raise ConfigError(
                f"The run to resume had {name.replace('_', ' ')} {record.get(name)}, found {value}; "
                "resume with what it began with, or train anew in another --output."
            )


def _parameter_groups(policy: Policy, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only, not for biases, norms and positions."""
    matrices = [p for n, p in policy.named_parameters() if p.ndim >= 2 and "position" not in n and "null" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in policy.parameters() if id(p) not in chosen]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def train(config: TrainConfig, name: str, policy_config: Any, quiet: bool = False) -> TrainResult:
    """Train and return what came out. See `Trainer`."""
    if dataclasses.is_dataclass(policy_config):
        return Trainer(config, name, policy_config, quiet).run()
    raise ConfigError(f"The policy configuration must be a dataclass, found {type(policy_config).__name__}.")
