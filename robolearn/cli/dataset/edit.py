"""`robolearn dataset edit`: change labels of episodes and masks; nothing that was recorded is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from robolearn.core.config import parse
from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class EditOptions:
    """Options of `robolearn dataset edit`. Give one of --set, --mask and --history."""

    path: tyro.conf.Positional[str]
    """A dataset. Edits are appended to a journal in it; the records stay as they were written."""
    episodes: str | None = None
    """Episodes to edit, such as 0-9,12,-1; counted from 0, and -1 is the last."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Edit episodes of which this holds, such as success=false or num_steps<20."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """KEY=VALUE: a label of the episodes, such as task="pick the cube" or success=true."""
    in_mask: str | None = None
    """Edit episodes that are in this mask."""
    mask: str | None = None
    """Make this mask hold exactly these episodes."""
    remove: bool = False
    """Remove the mask."""
    history: bool = False
    """Print all edits so far."""
    json: bool = False
    """Print a machine-readable report."""


def main(argv: list[str]) -> int:
    """Change labels of episodes, and masks."""
    options = parse(EditOptions, argv, "robolearn dataset edit", "Change labels of episodes, and masks.")
    actions = {"--set": bool(options.set), "--mask": options.mask is not None, "--history": options.history}
    given = [name for name, there in actions.items() if there]
    if len(given) != 1:
        found = f", found {' and '.join(given)}" if given else ""
        hint = " (to edit the episodes of a mask, give --in-mask NAME)" if given == ["--set", "--mask"] else ""
        raise ConfigError(f"edit needs one of --set KEY=VALUE, --mask NAME and --history{found}{hint}.")
    if options.remove and options.mask is None:
        raise ConfigError("--remove needs --mask NAME.")
    from robolearn.datasets.read.reader import Dataset
    from robolearn.datasets.tools import edit
    from robolearn.datasets.tools.select import Selection, parse_fields
    from robolearn.datasets.write.edits import remove_mask

    dataset = Dataset(options.path)
    selection = Selection(options.episodes, options.where, options.in_mask)
    if options.history:
        history = edit.history(dataset)
        print(json.dumps(history) if options.json else edit.history_text(history))
        return 0
    if options.mask is not None and options.remove:
        if not selection.is_all:
            raise ConfigError("--remove takes the whole mask away; give no --episodes, --where or --in-mask with it.")
        remove_mask(dataset.path, options.mask)
        report, text = {"mask": options.mask, "removed": True}, f"Removed mask {options.mask!r}."
    elif options.mask is not None:
        episodes = edit.edit_mask(dataset, options.mask, selection)
        report = {"mask": options.mask, "episodes": episodes}
        text = f"Mask {options.mask!r} holds {len(episodes)} of {dataset.num_episodes} episodes."
    else:
        fields = parse_fields(options.set, "--set")
        episodes = edit.edit_labels(dataset, selection, fields)
        report = {"set": fields, "episodes": episodes}
        told = ", ".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
        text = f"Set {told} for {len(episodes)} of {dataset.num_episodes} episodes."
    print(json.dumps(report) if options.json else text)
    return 0
