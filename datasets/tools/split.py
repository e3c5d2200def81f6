"""Several datasets of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.core.progress import Progress, no_progress
from robolearn.datasets.format.layout import Json, to_json
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.make import Made, Plan, write_dataset
from robolearn.datasets.tools.output import new_folder

NAME = re.compile(r"[\w.-]+")


def split(
    parent: Dataset,
    output_dir: Path,
    parts: Mapping[str, Sequence[int]],
    options: Json,
    progress: Progress = no_progress,
) -> list[Made]:
    """Make the folder `output_dir` with a dataset `NAME.zarr` for each of `parts`; all of them appear, or none.

    Args:
        parent: the dataset to split.
        output_dir: folder to make; must not exist, or be empty.
        parts: name -> episodes, from `by_share`, `by_mask` or `by_task`.
        options: what the user asked for, for the provenance.
        progress: called with (episodes done, episodes in all).

    Raises ConfigError for a part without episodes or with a name that is none, DatasetError when `output_dir` exists.
    """
    for name, episodes in parts.items():
        if not NAME.fullmatch(name) or name.startswith("."):
            raise ConfigError(f"A part cannot be named {name!r}; use letters, digits, dots, - and _.")
        if not len(episodes):
            raise ConfigError(f"{parent.name}: no episode is left for part {name!r}; it has {_usable(parent)}.")
    total = sum(map(len, parts.values()))
    made: list[Made] = []
    with new_folder(output_dir) as unfinished:
        unfinished.mkdir(parents=True)
        for name, episodes in parts.items():
            before = sum(report.num_episodes for report in made)

            def told(done: int, _: int, before: int = before) -> None:
                progress(before + done, total)

            plan = Plan.like(parent, episodes, "split", {"part": name, **options})
            report = write_dataset(unfinished / f"{name}.zarr", plan, told)
            made.append(replace(report, output=Path(output_dir) / f"{name}.zarr"))
    return made


def parse_shares(text: str) -> dict[str, float]:
    """`train=0.9,val=0.1` as a mapping. Raises ConfigError for anything else, or shares that do not add up to 1."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = np.nan
        if not name or not 0 < value <= 1:
            raise ConfigError(f"--by takes NAME=SHARE,..., such as train=0.9,val=0.1; found {text!r}.")
        if name in shares:
            raise ConfigError(f"--by names the part {name!r} twice.")
        shares[name] = value
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError(f"--by: the shares must add up to 1, found {sum(shares.values()):g}.")
    return shares


def by_share(parent: Dataset, shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Episodes at random, in the given shares of each task and of its successes and failures.

    The episodes are shuffled, sorted by task and success, and dealt out: each goes to the part that lacks most of its
    share so far. So every part gets its share of the whole, and of every run of like episodes, to within about one.
    """
    usable = parent.intact_episodes.tolist()
    order = np.random.default_rng(seed).permutation(usable)
    records = parent.episodes
    strata = [to_json([records[i].get("task"), records[i].get("success")]) for i in order]
    wanted = np.array(list(shares.values()))
    given = np.zeros(len(wanted))
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for count, position in enumerate(sorted(range(len(order)), key=strata.__getitem__), start=1):
        lacking = int(np.argmax(np.round(wanted * count - given, 9)))
        given[lacking] += 1
        parts[list(shares)[lacking]].append(int(order[position]))
    return {name: sorted(episodes) for name, episodes in parts.items()}


def by_mask(parent: Dataset, name: str) -> dict[str, list[int]]:
    """The episodes of a mask, and the others as `rest`. Raises DatasetError for an unknown mask."""
    mask = parent.mask(name)
    usable = parent.intact_episodes.tolist()
    return {name: [i for i in usable if mask[i]], "rest": [i for i in usable if not mask[i]]}


def by_task(parent: Dataset) -> dict[str, list[int]]:
    """The episodes of each task text, under a short form of the text."""
    texts: dict[str, list[int]] = {}
    for index in parent.intact_episodes.tolist():
        texts.setdefault(str(parent.episodes[index].get("task") or "no task"), []).append(index)
    parts: dict[str, list[int]] = {}
    for text, episodes in texts.items():
        name = short = "_".join(re.findall(r"\w+", text.lower()))[:60] or "task"
        number = 2
        while name in parts:
            name, number = f"{short}_{number}", number + 1
        parts[name] = episodes
    return parts


def _usable(parent: Dataset) -> str:
    return f"{len(parent.intact_episodes)} usable episodes"
