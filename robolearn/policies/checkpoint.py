"""A policy on disk: a directory of safetensors, yaml and json. Nothing in it can run code when it is read.

model.safetensors        weights (the averaged ones, where training averages)
normalizer.safetensors   statistics of the training data
features.json            PolicySpec: features, horizons, rate
config.yaml              policy name and its configuration
provenance.json          dataset checksum, git revision, versions, seed, training curve
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from robolearn.core import config as configuration
from robolearn.core.errors import CheckpointError, RobolearnError
from robolearn.datasets.normalizer import Normalizer
from robolearn.policies.base import Policy
from robolearn.policies.registry import POLICIES
from robolearn.policies.spec import PolicySpec

FILES = ("model.safetensors", "normalizer.safetensors", "features.json", "config.yaml", "provenance.json")


def make_policy(name: str, config: Any, spec: PolicySpec, normalizer: Normalizer) -> Policy:
    """Build an untrained policy by its registered name."""
    return POLICIES.resolve(name)(config, spec, normalizer)


def save_policy(
    directory: Path, name: str, policy: Policy, weights: dict[str, Tensor], provenance: dict[str, Any]
) -> None:
    """Write a checkpoint into `directory`, which must not hold one yet. The last file makes it complete."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, directory / "model.safetensors")
    policy.normalizer.save(directory / "normalizer.safetensors")
    (directory / "features.json").write_text(json.dumps(policy.spec.to_dict(), indent=2))
    configuration.save_yaml({"policy": name, "config": configuration.to_dict(policy.config)}, directory / "config.yaml")
    (directory / "provenance.json").write_text(json.dumps(provenance, indent=2))


def checkpoint_directory(path: Path) -> Path:
    """The checkpoint meant by `path`: itself, or the last one of a training run's folder."""
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(f"No policy at {path}: expected a checkpoint or a training output folder.")
    for candidate in (path, path / "checkpoints" / "last"):
        if (candidate / "model.safetensors").is_file():
            return candidate
    raise CheckpointError(f"{path} holds no checkpoint (no model.safetensors); train one with: robolearn train.")


def load_provenance(path: Path) -> dict[str, Any]:
    """provenance.json of a checkpoint. Raises CheckpointError when it is missing or damaged."""
    file = checkpoint_directory(path) / "provenance.json"
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({type(error).__name__}: {error}).") from error


def load_policy(path: Path | str, device: str = "cpu") -> Policy:
    """Read a checkpoint, ready for inference.

    Raises CheckpointError when the directory, a file or a tensor is missing, damaged or does not fit.
    """
    directory = checkpoint_directory(Path(path))
    missing = [name for name in FILES if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(f"Checkpoint {directory} is incomplete: {', '.join(missing)} missing.")
    try:
        declared = configuration.load_yaml(directory / "config.yaml")
        kind = POLICIES.resolve(declared["policy"])
        config = configuration.from_dict(kind.Config, declared["config"], where=f"{directory}/config.yaml")
        spec = PolicySpec.from_dict(json.loads((directory / "features.json").read_text()))
        policy = kind(config, spec, Normalizer.load(directory / "normalizer.safetensors"))
        policy.load_state_dict(load_file(directory / "model.safetensors"))
    except RobolearnError:
        raise
    except (KeyError, ValueError, TypeError, OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"Checkpoint {directory} cannot be read ({type(error).__name__}: {reason}).") from error
    try:
        policy.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"Device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return policy.eval()
