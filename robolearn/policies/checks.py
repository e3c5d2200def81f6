"""Checks that the configurations of several policies share."""

from __future__ import annotations

import math
from typing import Any, get_args

from robolearn.core.errors import ConfigError, unknown_name


def require_counts(config: Any, *names: str) -> None:
    """Raise ConfigError unless each of these fields is at least 1."""
    for name in names:
        if not getattr(config, name) >= 1:
            raise ConfigError(f"{name} must be at least 1, found {getattr(config, name)}.")


def require_dropouts(config: Any, *names: str) -> None:
    """Raise ConfigError unless each of these fields lies in [0, 1)."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{name} must lie in [0, 1), found {getattr(config, name)}.")


def require_positive(config: Any, *names: str) -> None:
    """Raise ConfigError unless each of these fields is above 0 (infinity is)."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{name} must be positive, found {getattr(config, name)}.")


def require_finite(config: Any, *names: str) -> None:
    """Raise ConfigError for each of these fields that is infinite or not a number."""
    for name in names:
        if not math.isfinite(getattr(config, name)):
            raise ConfigError(f"{name} must be finite, found {getattr(config, name)}.")


def require_choices(config: Any, **literals: Any) -> None:
    """Raise ConfigError unless each of these fields is one of its Literal's values."""
    for name, literal in literals.items():
        if getattr(config, name) not in get_args(literal):
            raise ConfigError(unknown_name(name, getattr(config, name), get_args(literal)))
