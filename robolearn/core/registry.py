"""A table `name -> "module:attribute"` resolved on first use, so that nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from robolearn.core.errors import ConfigError, MissingDependencyError, unknown_name


class Registry(Mapping[str, str]):
    """Names of one kind of thing and where their code lives.

    Args:
        kind: what the names stand for, used in error messages ("policy", "environment").
        entries: name -> "package.module:attribute".
        extra: pip extra that brings the packages these entries need, named when an import fails.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], extra: str | None = None):
        self.kind = kind
        self.extra = extra
        self._entries: dict[str, str] = {}
        for name, target in entries.items():
            self.register(name, target)

    def register(self, name: str, target: str) -> None:
        """Add an entry. Raises ConfigError when the name is taken or the target is malformed."""
        if name in self._entries:
            raise ConfigError(f"The {self.kind} {name!r} is registered already, as {self._entries[name]}.")
        if target.count(":") != 1:
            raise ConfigError(f"Target {target!r} of {self.kind} {name!r} is not of the form 'module:attribute'.")
        self._entries[name] = target

    def resolve(self, name: str) -> Any:
        """Import and return what `name` stands for.

        Raises ConfigError for an unknown name, MissingDependencyError when its packages are not installed.
        """
        if name not in self._entries:
            raise ConfigError(unknown_name(self.kind, name, self._entries))
        module, attribute = self._entries[name].split(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("robolearn"):
                raise
            hint = f" Install it with: pip install '.[{self.extra}]' -c constraints.txt." if self.extra else ""
            raise MissingDependencyError(
                f"The {self.kind} {name!r} needs the package {error.name!r}, which is not installed.{hint}"
            ) from error

    def __getitem__(self, name: str) -> str:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
