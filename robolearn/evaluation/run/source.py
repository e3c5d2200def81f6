"""Where a policy comes from, in a form that can be sent to a worker process."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robolearn.core.errors import ConfigError
from robolearn.execution.anchored import anchored
from robolearn.execution.policy import ActingPolicy
from robolearn.execution.policy_spec import PolicySpec


@dataclass(frozen=True)
class PolicySource:
    """A checkpoint directory, or `factory`: the "module:attribute" of a callable that returns a policy.

    The factory form is for policies that are code rather than weights (scripted baselines, test doubles);
    it is imported in the worker and called with `options`.

    Attributes:
        directory: a checkpoint, or a training run's output folder, which stands for its last checkpoint.
        sampling: settings of the policy's sampler that differ from those in the checkpoint, see `load_policy`.
        device: where a checkpoint runs, see `choose_device`.
    """

    directory: Path | None = None
    factory: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if (self.directory is None) == (self.factory is None):
            raise ConfigError("A policy comes either from a checkpoint directory or from a factory; give one of them.")
        if self.factory is not None and self.factory.count(":") != 1:
            raise ConfigError(f"Policy factory {self.factory!r} is not of the form 'module:attribute'.")
        if self.factory is not None and self.sampling:
            raise ConfigError("Sampling settings are for checkpoints; a factory takes its own in `options`.")

    @property
    def name(self) -> str:
        return str(self.directory if self.directory is not None else self.factory)

    @property
    def label(self) -> str:
        """The name, for messages."""
        return f"policy {self.name!r}"

    def spec(self) -> PolicySpec | None:
        """What a checkpoint's policy was trained with; None for a factory, whose policy would have to be made first.

        Raises CheckpointError for a checkpoint that cannot be read, ConfigError for a setting that it does not have.
        """
        if self.directory is None:
            return None
        from robolearn.policies.checkpoint import load_spec

        return load_spec(self.directory, self.sampling)

    def resolved(self) -> PolicySource:
        """The same with the one checkpoint that is meant now: `last` moves on while a run goes on.

        Raises CheckpointError when there is none.
        """
        if self.directory is None:
            return self
        from robolearn.policies.checkpoint import checkpoint_directory

        return replace(self, directory=checkpoint_directory(self.directory).resolve())

    def load(self) -> ActingPolicy:
        """Load the weights or call the factory; its actions are `anchored`. Raises CheckpointError or ConfigError."""
        if self.directory is not None:
            from robolearn.policies.checkpoint import load_policy

            return anchored(load_policy(self.directory, self.device, self.sampling).prepared())
        module, _, attribute = str(self.factory).partition(":")
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"Policy factory {self.factory!r} cannot be imported: {error}.") from error
        return anchored(factory(**self.options))
