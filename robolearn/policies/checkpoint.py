"""A policy on disk: a directory of safetensors, yaml and json. Nothing in it can run code when it is read.

model.safetensors        weights (the averaged ones, where training averages)
normalizer.safetensors   statistics of the training data
features.json            PolicySpec: features, horizons, rate
config.yaml              policy name and its configuration
provenance.json          dataset checksum, git revision, versions, seed, training curve; SHA-256 of the other files

The checksums find files that were damaged, edited or mixed up. They are no signature: they do not say who wrote them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from robolearn.core import config as configuration
from robolearn.core.errors import CheckpointError, ConfigError, RobolearnError, one_line, unknown_name
from robolearn.core.failure import is_users
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Policy
from robolearn.policies.device import choose_device
from robolearn.policies.registry import POLICIES, config_of

NORMALIZER = "normalizer.safetensors"
FILES = ("model.safetensors", NORMALIZER, "features.json", "config.yaml", "provenance.json")

# what reading files raises that were edited with their checksums
_MISREAD = (
    KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError, OSError, SafetensorError, RuntimeError,
)  # fmt: skip


def make_policy(name: str, config: Any, spec: PolicySpec, normalizer: Normalizer) -> Policy:
    """Build an untrained policy by its registered name."""
    return POLICIES.make(name, config, spec, normalizer)


def save_policy(
    directory: Path,
    name: str,
    policy: Policy,
    weights: dict[str, Tensor],
    provenance: dict[str, Any],
    sealed: Sequence[str] = (),
) -> None:
    """Write a checkpoint into `directory`, which must not hold one yet. The last file makes it complete.

    Args:
        sealed: names of further files, there already, whose SHA-256 is recorded too; loading does not need them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, directory / "model.safetensors")
    policy.normalizer.save(directory / NORMALIZER)
    (directory / "features.json").write_text(json.dumps(policy.spec.to_dict(), indent=2))
    configuration.save_yaml({"policy": name, "config": configuration.to_dict(policy.config)}, directory / "config.yaml")
    checksums = {name: _sha256(directory / name) for name in (*FILES[:-1], *sealed)}
    (directory / FILES[-1]).write_text(json.dumps({**provenance, "checksums": checksums}, indent=2))


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
    file = checkpoint_directory(path) / FILES[-1]
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({type(error).__name__}: {error}).") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{file} holds {type(record).__name__}, expected a mapping.")
    return record


def load_declaration(path: Path) -> dict[str, Any]:
    """`name` and `config` of a checkpoint's policy, as they were saved. Raises CheckpointError or ConfigError."""
    file = checkpoint_directory(path) / "config.yaml"
    declared = configuration.load_yaml(file)
    if not isinstance(declared.get("policy"), str) or not isinstance(declared.get("config"), dict):
        raise CheckpointError(f"{file} does not name a policy and its configuration; copy the whole checkpoint again.")
    return {"name": declared["policy"], "config": declared["config"]}


def load_policy(path: Path | str, device: str = "cpu", sampling: Mapping[str, Any] | None = None) -> Policy:
    """Read a checkpoint, ready for inference (`Policy.prepared` may make that faster).

    Args:
        device: see `choose_device`.
        sampling: fields of the policy's configuration to change, of those named in its `SAMPLING`.

    Raises CheckpointError when the directory, a file or a tensor is missing, was changed or does not fit, ConfigError
    for settings that are unknown or of a wrong type, and for a device that is not there.
    """
    processor = choose_device(device)
    directory = checkpoint_directory(Path(path))
    # before anything is built: what sizes memory is what was saved
    check_unchanged(directory)
    name, config, spec = _declared(directory, sampling or {})
    with _readable(directory):
        policy: Policy = POLICIES.make(name, config, spec, Normalizer.load(directory / NORMALIZER))
        policy.load_state_dict(load_file(directory / "model.safetensors"))
    return policy.to(processor).eval()


def load_spec(path: Path | str, sampling: Mapping[str, Any] | None = None) -> PolicySpec:
    """What the policy of a checkpoint needs and gives, without its weights; raises like `load_policy`."""
    return _declared(checkpoint_directory(Path(path)), sampling or {})[2]


def _declared(directory: Path, sampling: Mapping[str, Any]) -> tuple[str, Any, PolicySpec]:
    """Registered name, configuration and data contract of a saved policy."""
    with _readable(directory):
        declared = load_declaration(directory)
        if declared["name"] not in POLICIES:
            raise CheckpointError(
                f"{directory}: {unknown_name('policy', declared['name'], POLICIES)} If it is of another package, "
                f"install the package that declares it (entry points {POLICIES.group})."
            )
        kind = POLICIES.resolve(declared["name"])
        config = configuration.from_dict(
            config_of(declared["name"]), declared["config"], where=f"{directory}/config.yaml"
        )
        config = _with_sampling(kind, config, sampling)
        return declared["name"], config, PolicySpec.from_dict(json.loads((directory / "features.json").read_text()))


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    """Raises CheckpointError for what the files of a checkpoint make the code raise that reads them."""
    try:
        yield
    except RobolearnError:
        raise
    except _MISREAD as error:
        if is_users(error):
            raise  # of a policy of another package: not what was read
        reason = f"{type(error).__name__}: {one_line(error)}"
        if isinstance(error, KeyError):
            reason = f"the field {error} is missing; copy the whole checkpoint again"
        raise CheckpointError(f"Checkpoint {directory} cannot be read ({reason}).") from error


def _with_sampling(kind: type[Policy], config: Any, sampling: Mapping[str, Any]) -> Any:
    """`config` with other settings of the sampler. Raises ConfigError for those that the policy does not name.

    A dotted name, `scheduler_options.solver_order`, changes one entry of a setting that is a mapping.
    """
    if not sampling:
        return config
    changed = configuration.to_dict(config)
    for name, value in sampling.items():
        setting, _, entry = name.partition(".")
        if setting not in kind.SAMPLING:
            raise ConfigError(f"{kind.__name__}: " + unknown_name("sampling setting", name, kind.SAMPLING))
        if entry and not isinstance(changed[setting], Mapping):
            raise ConfigError(f"{kind.__name__}: {setting} has no entries, found {name!r}; write {setting}=VALUE.")
        changed[setting] = {**changed[setting], entry: value} if entry else value
    return configuration.from_dict(kind.Config, changed, where="sampling")


def check_unchanged(directory: Path, sealed: Sequence[str] = ()) -> None:
    """Raise CheckpointError when a file is missing or is not the one that was saved.

    Args:
        sealed: names of further files; of these, what an older version saved without its SHA-256 is not compared.
    """
    missing = [name for name in (*FILES, *sealed) if not (directory / name).is_file()]
    if missing:
        raise CheckpointError(f"Checkpoint {directory} is incomplete: {', '.join(missing)} missing.")
    recorded = load_provenance(directory).get("checksums")
    if not isinstance(recorded, dict):
        raise CheckpointError(f"{directory / FILES[-1]} lists no checksums; it was damaged or edited: copy it again.")
    for name in (*FILES[:-1], *(name for name in sealed if name in recorded)):
        if _sha256(directory / name) != recorded.get(name):
            raise CheckpointError(
                f"{directory / name} was changed after it was saved (its SHA-256 is not the one in {FILES[-1]}); "
                "copy the whole checkpoint again."
            )


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
