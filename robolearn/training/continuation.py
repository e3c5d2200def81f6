"""What a run that is resumed must have alike: all that decides what is learned, but for the number of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robolearn.core.config import flat, to_dict
from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.policies.checkpoint import load_declaration, load_provenance
from robolearn.training.config import INCIDENTAL, TrainConfig

_MAY_CHANGE = INCIDENTAL | {"steps", "dataset"}  # datasets are told by their content: they may have moved


def require_same_options(checkpoint: Path, config: TrainConfig, name: str, policy_config: Any) -> None:
    """Raise ConfigError, naming the option, when a checkpoint was trained with other options or is another policy's.

    Options that either of them does not know, being of another version, are not compared.
    """
    declared, trained = load_declaration(checkpoint), load_provenance(checkpoint).get("training")
    if not isinstance(trained, dict):
        raise CheckpointError(f"{checkpoint} does not say how it was trained; train anew in another --output.")
    if declared["name"] != name:
        raise _differs("the policy", declared["name"], name)
    # runs of versions that knew actions as they are stored alone
    before = flat({"action": None, **trained, "policy": declared["config"]})
    now = flat({**to_dict(config), "policy": to_dict(policy_config)})
    for option, value in now.items():
        if option not in _MAY_CHANGE and option in before and before[option] != value:
            raise _differs(f"--{option.replace('_', '-')}", before[option], value)


def require_same_data(checkpoint: Path, identity: dict[str, Any]) -> None:
    """Raise ConfigError when a checkpoint was trained on other data, see `Corpus.identity`.

    What the checkpoint, being of another version, does not know is not compared.
    """
    record = load_provenance(checkpoint)
    for name, value in identity.items():
        if name in record and record[name] != value:
            raise _differs(name.replace("_", " "), record[name], value)


def _differs(what: str, before: Any, now: Any) -> ConfigError:
    return ConfigError(
        f"The run to resume had {what} {before}, found {now}; "
        "resume with what it began with, or train anew in another --output."
    )
