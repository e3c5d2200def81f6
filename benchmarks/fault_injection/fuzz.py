"""Damage one file of a dataset and see that nobody crashes, lies, or blames another place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import RobolearnError
from robolearn.datasets.checks import validate
from robolearn.datasets.format import layout
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.run import repair
from robolearn.datasets.write.edits import edit_episodes, set_mask

COPIES = (".zarray", ".zattrs", ".zgroup")


@dataclass
class Outcome:
    """What one damage did.

    Attributes:
        damage: what was done to which file.
        silent: what the reader returned that is not what was recorded, although it has a checksum.
        crashes: exceptions other than RobolearnError, of reader, validator or repair.
        unnamed: errors that name neither the damaged place nor an episode.
        harmed: intact episodes that are other, or gone, after repair; repairs that do not settle.
        noticed: whether the reader refused anything.
    """

    damage: str
    silent: list[str]
    crashes: list[str]
    unnamed: list[str]
    harmed: list[str]
    noticed: bool = False

    @property
    def clean(self) -> bool:
        return not (self.silent or self.crashes or self.unnamed or self.harmed)


def contents(dataset: Dataset, ask: Callable[..., None]) -> None:
    """`ask(what, function, *arguments)` for everything that a dataset holds and that has a checksum."""
    ask("records", lambda: dataset.recorded_episodes)
    ask("ends", lambda: dataset.episode_ends.tolist())
    ask("timestamps", lambda: dataset.timestamps.tobytes())
    for name, feature in dataset.features.items():
        if not layout.is_encoded(feature):
            ask(f"array {name}", lambda n: dataset.array(n).tobytes(), name)
            continue
        for step in range(dataset.num_steps):
            ask(f"frame {name} {step}", dataset.encoded, name, step)
    for name, feature in dataset.streams.items():
        ask(f"stream {name} times", lambda n: dataset.stream(n).timestamp.tobytes(), name)
        ask(f"stream {name} devices", lambda n: dataset.stream(n).device_time.tobytes(), name)
        ask(f"stream {name} numbers", lambda n: dataset.stream(n).sequence.tobytes(), name)
        ask(f"stream {name} ends", lambda n: dataset.stream(n).episode_ends.tolist(), name)
        ask(f"stream {name} grid", lambda n: np.asarray(dataset.stream(n).at_step).tobytes(), name)
        if not layout.is_encoded(feature):
            ask(f"stream {name}", lambda n: dataset.stream(n).values.tobytes(), name)
    for episode in range(dataset.num_episodes):
        ask(f"episode {episode}", whole_episode, dataset, episode)


def whole_episode(dataset: Dataset, episode: int) -> list[Any]:
    """All of an episode as plain bytes."""
    data = dataset.read_episode(episode)
    found: list[Any] = [data.timestamps.tobytes(), {k: v.tobytes() for k, v in data.values.items()}]
    found += [{k: [bytes(f) for f in v] for k, v in data.frames.items()}]
    for name, rows in data.streams.items():
        values = None if rows.values is None else rows.values.tobytes()
        frames = None if rows.frames is None else [bytes(f) for f in rows.frames]
        found += [name, rows.timestamp.tobytes(), rows.sequence.tobytes(), values, frames]
    return found


class Fuzzer:
    """Damages copies of a dataset.

    Args:
        template: the dataset; edits and a mask are added to it.
        scratch: folder for the copies.
    """

    def __init__(self, template: Path, scratch: Path):
        self.template, self.scratch = template, scratch
        edit_episodes(template, [0], {"task": "edited"})
        set_mask(template, "train", [0, 1])
        self.truth: dict[str, Any] = {}
        contents(Dataset(template), lambda what, read, *args: self.truth.__setitem__(what, read(*args)))
        files = sorted(p for p in template.rglob("*") if p.is_file() and "pending" not in p.parts)
        self._by_folder: dict[Path, list[Path]] = {}
        for file in files:
            self._by_folder.setdefault(file.parent, []).append(file)

    def choose(self, rng: np.random.Generator) -> Path:
        """A file relative to the dataset: folders have equal chances, so that not all of them are images; copies of
        metadata have a small one."""
        copies = rng.random() < 0.15
        folders = {f: [p for p in files if (p.name in COPIES) == copies] for f, files in self._by_folder.items()}
        chosen = sorted(folder for folder, files in folders.items() if files)
        files = folders[chosen[rng.integers(len(chosen))]]
        return files[rng.integers(len(files))].relative_to(self.template)

    def run(self, seed: int) -> Outcome:
        """One damage, in a copy that is removed afterwards."""
        rng = np.random.default_rng(seed)
        path = self.scratch / f"fuzz{seed}.zarr"
        shutil.copytree(self.template, path)
        try:
            file = self.choose(rng)
            damage = f"seed {seed}: {damage_file(path / file, rng)} {file}"
            outcome = Outcome(damage, [], [], [], [])
            intact = self._read(path, str(file), outcome)
            self._validate(path, str(file), outcome)
            self._repair(path, intact, outcome)
            return outcome
        finally:
            shutil.rmtree(path)

    def _read(self, path: Path, file: str, outcome: Outcome) -> list[int]:
        """Returns the episodes that read as they were recorded."""
        good: list[int] = []

        def ask(what: str, read: Callable[..., Any], *arguments: Any) -> None:
            try:
                found = read(*arguments)
            except RobolearnError as error:
                outcome.noticed = True
                if not names_place(str(error), file):
                    outcome.unnamed.append(f"reader, {what}: {error}")
            except Exception as error:
                outcome.crashes.append(f"reader, {what}: {error!r}")
            else:
                if what != "open" and found != self.truth.get(what):
                    outcome.silent.append(what)
                elif what.startswith("episode "):
                    good.append(int(what.split()[1]))

        opened: list[Dataset] = []
        ask("open", lambda: opened.append(Dataset(path)))
        if opened:
            contents(opened[0], ask)
        return good

    def _validate(self, path: Path, file: str, outcome: Outcome) -> None:
        try:
            findings = validate(path)
        except Exception as error:
            outcome.crashes.append(f"validate: {error!r}")
            return
        outcome.crashes += [finding.line() for finding in findings if finding.check == "internal"]
        errors = [finding for finding in findings if finding.severity == "error"]
        if outcome.noticed and not errors:
            outcome.unnamed.append("validate found nothing, although the reader refuses something")
        key = str(Path(file).parent)
        if errors and not any(
            (f.file or "").startswith(key) or f.file == file or f.episode is not None for f in errors
        ):
            outcome.unnamed.append(f"validate: {errors[0].line()}")

    def _repair(self, path: Path, intact: list[int], outcome: Outcome) -> None:
        try:
            repair(path)
            again = repair(path)
            dataset = Dataset(path)
        except Exception as error:
            outcome.crashes.append(f"repair: {error!r}")
            return
        outcome.harmed += [f"a second repair: {action.line()}" for action in again]
        outcome.harmed += [f"after repair: {f.line()}" for f in validate(path) if f.severity == "error"]
        usable = set(dataset.intact_episodes.tolist())
        outcome.harmed += [f"episode {i} was intact and is now in quarantine" for i in intact if i not in usable]
        for episode in usable:
            if whole_episode(dataset, episode) != self.truth[f"episode {episode}"]:
                outcome.harmed.append(f"episode {episode} reads otherwise after repair")
        total = sum(what.startswith("episode ") for what in self.truth)
        if dataset.num_episodes != total:
            outcome.harmed.append(f"{dataset.num_episodes} of {total} episodes after repair ({QUARANTINE} included)")


def damage_file(file: Path, rng: np.random.Generator) -> str:
    """Flip bits, cut, overwrite, lengthen or delete; returns which. Makes a new file: frames are hard links."""
    data = bytearray(file.read_bytes())
    kind = ["flip", "flip", "truncate", "delete", "overwrite", "lengthen"][rng.integers(6)]
    file.unlink()
    if kind == "delete" or not data:
        return "deleted"
    if kind == "flip":
        for _ in range(int(rng.integers(1, 4))):
            data[place(rng, len(data))] ^= 1 << int(rng.integers(8))
    elif kind == "truncate":
        del data[place(rng, len(data)) :]
    elif kind == "overwrite":
        start = place(rng, len(data))
        data[start : start + 64] = bytes(len(data[start : start + 64]))
    else:
        data += rng.bytes(int(rng.integers(1, 100)))
    file.write_bytes(data)
    return kind


def place(rng: np.random.Generator, size: int) -> int:
    """Where to strike: anywhere, or near the front, because most of a chunk in a small dataset is empty."""
    return int(size * rng.random() ** int(rng.choice([1, 6])))


def names_place(message: str, file: str) -> bool:
    """Whether an error says where to look: the file, its array, or the episode."""
    return file in message or str(Path(file).parent) in message or "episode" in message
