"""Errors a user can act on: one line that says what was found, what was expected and what to type next.

The command line prints the message of a `RobolearnError` without a traceback; anything else is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RobolearnError(Exception):
    """Base of every error caused by input, configuration, files or devices."""


class ConfigError(RobolearnError):
    """An option or configuration value is unknown or has a wrong type or range."""


class FeatureError(RobolearnError):
    """Data does not have the features (names, shapes, dtypes) that its consumer needs."""


class LayoutError(FeatureError):
    """Actions mean something else than what takes them expects, and are not or not exactly converted."""


class DatasetError(RobolearnError):
    """A dataset is missing, damaged or not in a readable layout."""


class CheckpointError(RobolearnError):
    """A policy checkpoint directory is missing, incomplete or inconsistent."""


class DeviceError(RobolearnError):
    """A robot, camera or input device cannot be reached or reported a fault."""


class ServerError(RobolearnError):
    """The policy server cannot be reached, refused a request or answered with an error."""


class MissingDependencyError(RobolearnError):
    """An optional package or system library is not installed."""


def one_line(told: object, limit: int = 300) -> str:
    """What another program or library said, as one printable line of at most `limit` characters."""
    try:
        text = told if isinstance(told, str) else str(told) or type(told).__name__
    except RecursionError:  # lists in lists in lists, of a file or another machine
        text = f"a deeply nested {type(told).__name__}"
    words = " ".join(text[: 4 * limit].split())
    words = "".join(c if c.isprintable() else "?" for c in words)
    return words if len(words) <= limit else words[: limit - 4] + " ..."


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None when nothing is similar."""
    names = list(known)
    matches = difflib.get_close_matches(name.lower(), [k.lower() for k in names], n=1, cutoff=0.5)
    if not matches:
        return None
    return next(k for k in names if k.lower() == matches[0])


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for an unknown name: the closest match and the list of valid ones."""
    names = sorted(known)
    guess = closest(name, names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    listed = ", ".join(names) if names else "none"
    return f"Unknown {kind} {name!r}.{hint} Known: {listed}."
