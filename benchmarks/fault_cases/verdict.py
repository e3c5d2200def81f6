"""What a user sees of a command, and whether a case was handled right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIME_LIMIT_S = 300.0


@dataclass(frozen=True)
class Verdict:
    """Whether a case is handled right, and in one line why (not)."""

    right: bool
    why: str


def right(why: str) -> Verdict:
    return Verdict(True, why)


def wrong(why: str) -> Verdict:
    return Verdict(False, why)


@dataclass(frozen=True)
class Said:
    """A command that ended.

    Attributes:
        lines: of notes, warnings and errors.
        report: what `--json` printed, empty without.
    """

    status: int
    lines: tuple[str, ...]
    report: Mapping[str, Any]

    @property
    def done(self) -> bool:
        return self.status == 0

    @property
    def refusal(self) -> str | None:
        """The one line of an error; None where the command did its work, or ended otherwise than with one line."""
        errors = [line for line in self.lines if line.startswith("error: ")]
        traced = any(line.startswith("Traceback") for line in self.lines)
        return errors[0] if self.status == 2 and len(errors) == 1 and not traced else None

    @property
    def told(self) -> tuple[str, ...]:
        """Everything that the user is told, without cutting lists short."""
        return (*self.lines, *self.report.get("notes", ()), *self.report.get("skipped", ()))

    def names(self, *patterns: str) -> bool:
        """Whether one line says all of it."""
        return any(all(re.search(pattern, line, re.IGNORECASE) for pattern in patterns) for line in self.told)

    @property
    def end(self) -> str:
        """How it ended, in a line."""
        return f"exit status {self.status}: {self.lines[-1] if self.lines else 'nothing was said'}"


def robolearn(*arguments: object, environment: Mapping[str, str] | None = None) -> Said:
    """`robolearn ARGUMENTS`, as a user types it."""
    command = [sys.executable, "-m", "robolearn", *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if name != "DISPLAY"} | dict(environment or {})
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S, env=env
    )
    report: Any = {}
    if "--json" in command and done.stdout.strip():
        report = json.loads(done.stdout.strip().splitlines()[-1])
    return Said(done.returncode, tuple(filter(None, map(str.strip, done.stderr.splitlines()))), report)


def convert(source: Path, output: Path, *more: object) -> Said:
    """Make a dataset of `source`."""
    return robolearn("dataset", "convert", "--input", source, "--output", output, "--json", *more)


def leftovers(folder: Path, *kept: str) -> list[str]:
    """Names in a folder beside those that were there."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in kept)
