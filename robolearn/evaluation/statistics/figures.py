"""Figures: every number this project states about itself, with all that is needed to measure it again.

They live in json files (each a list) under `benchmarks/results/`. A figure is identified by its id and seeds, and where
one thing is measured of several (scenes, formats, data sets) by the `variant` in its `config`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robolearn.core.errors import ConfigError
from robolearn.core.files import write_text
from robolearn.core.provenance import git_revision, machine, package_versions, wall_time

RESULTS = Path("benchmarks/results")
QUICK_RESULTS = Path("outputs/bench")
_ID = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


def _versions() -> dict[str, str]:
    revision = git_revision()
    return {**package_versions(), **({"git": revision} if revision else {})}


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        id: dotted, stable, e.g. `demo.eval_success`.
        unit: SI unit, or "1" for a ratio, rate or count.
        n: how many measurements (episodes, repetitions) it rests on.
        interval: 95 % confidence interval of `value`, or the observed range; `notes` says which.
        seeds: random seeds.
        command: what to type to measure it again.
        config: what it was measured with; `variant` names which of several was, with one id for all.
    """

    id: str
    value: float
    unit: str
    n: int
    command: str
    interval: tuple[float, float] | None = None
    seeds: tuple[int, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    versions: dict[str, str] = field(default_factory=_versions)
    machine: str = field(default_factory=machine)
    date: str = field(default_factory=wall_time)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise ConfigError(f"Figure id {self.id!r} is not of the form part.name (a-z, 0-9, _ and at least one dot).")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise ConfigError(f"Figure {self.id!r} has value {self.value!r}, expected a finite number.")
        if not isinstance(self.n, int) or self.n < 1:
            raise ConfigError(
                f"Figure {self.id!r} has n = {self.n!r}, expected the number of measurements, at least 1."
            )
        if not self.unit or not self.command:
            raise ConfigError(f"Figure {self.id!r} needs a unit ('1' for none) and the command that measures it.")
        if self.interval is not None:
            object.__setattr__(self, "interval", tuple(float(bound) for bound in self.interval))
            low, high = self.interval
            if not low <= self.value <= high:
                raise ConfigError(f"Figure {self.id!r} has value {self.value} outside its interval [{low}, {high}].")

    @property
    def variant(self) -> str:
        return str(self.config.get("variant", ""))

    @property
    def key(self) -> tuple[str, str, tuple[int, ...]]:
        return self.id, self.variant, self.seeds

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        ordered = ("id", "value", "unit", "n", "interval", "seeds", "command", "config", "versions", "machine", "date")
        return {**{k: found[k] for k in ordered}, "notes": self.notes}

    @classmethod
    def from_dict(cls, mapping: Any, where: str = "figure") -> Figure:
        """Raises ConfigError, naming `where`, for missing, unknown or invalid entries."""
        if not isinstance(mapping, dict):
            raise ConfigError(f"{where}: found {type(mapping).__name__}, expected a figure (a mapping).")
        try:
            return cls(**mapping)
        except (TypeError, ValueError, ConfigError) as error:
            raise ConfigError(f"{where}: {error}") from error


def results_file(name: str, quick: bool) -> Path:
    """Where the benchmark called `name` writes: its quick form never touches the published results."""
    return (QUICK_RESULTS if quick else RESULTS) / f"{name}.json"


def write_figures(path: Path, figures: Iterable[Figure]) -> None:
    """Merge `figures` into the list in `path`; those with the same key are replaced, the order is by key."""
    merged = {figure.key: figure for figure in _read_file(path)} if path.exists() else {}
    merged.update({figure.key: figure for figure in figures})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps([merged[key].to_dict() for key in sorted(merged)], indent=1) + "\n")


def read_figures(path: Path) -> list[Figure]:
    """All figures of a file, or of the json files of a folder that are lists. Raises ConfigError."""
    if not path.exists():
        raise ConfigError(f"There are no figures at {path}. Measure them with: python benchmarks/run.py --full")
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return sorted((figure for file in files for figure in _read_file(file)), key=lambda figure: figure.key)


def _read_file(path: Path) -> list[Figure]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a readable list of figures: {error}") from error
    entries = found if isinstance(found, list) else [found]
    return [Figure.from_dict(entry, f"{path}, entry {i}") for i, entry in enumerate(entries)]


def format_number(value: float) -> str:
    """Four significant digits without exponents for ordinary sizes: 0.9400 -> 0.94, 1234.56 -> 1235."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = 4 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3e}"


def format_table(figures: Sequence[Figure]) -> str:
    """Aligned text: id and [variant], value, unit, interval, n, seeds, date."""
    if not figures:
        return "No figures yet. Measure them with: python benchmarks/run.py --full"
    rows = [("id", "value", "unit", "interval", "n", "seeds", "date")]
    for f in figures:
        interval = f"[{format_number(f.interval[0])}, {format_number(f.interval[1])}]" if f.interval else ""
        seeds = ",".join(map(str, f.seeds))
        name = f"{f.id} [{f.variant}]" if f.variant else f.id
        rows.append((name, format_number(f.value), f.unit, interval, str(f.n), seeds, f.date[:10]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {1, 4}
    lines = [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
