"""The sets of versions that are tested together, which of them an environment follows, and what to type for more."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PINNED = ("constraints.txt", "constraints-newest.txt")


def install_line(extra: str) -> str:
    """What to type for an extra, with the versions that this environment follows; robosuite is in one set only."""
    return f"pip install '.[{extra}]' -c {PINNED[0] if extra == 'robosuite' else pins_in_use()}"


def pins_in_use() -> str:
    """The file of the set that this environment follows; the first where there is no checkout."""
    found = differences()
    return nearest(found).name if found else PINNED[0]


def differences() -> dict[Path, list[str]]:
    """File of pins -> installed packages that have another version: `numpy 2.1.0 (pinned 1.26.4)`."""
    told = {}
    for file in (CHECKOUT / name for name in PINNED):
        if file.is_file():
            pins = dict(line.split("==") for line in file.read_text().split() if "==" in line)
            found = {name: (version_of(name) or "").partition("+")[0] for name in pins}
            told[file] = [
                f"{name} {version} (pinned {pins[name]})"
                for name, version in found.items()
                if version not in ("", pins[name])
            ]
    return told


def nearest(found: dict[Path, list[str]]) -> Path:
    """The set of pins from which least differs."""
    return min(found, key=lambda file: len(found[file]))


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
