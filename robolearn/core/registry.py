"""A table `name -> "module:attribute"` resolved on first use, so that nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from robolearn.core.errors import ConfigError, MissingDependencyError, unknown_name
from robolearn.core.failure import culprit


class SignatureError(ConfigError):
    """What a name stands for cannot be called with what it is given."""


class Registry(Mapping[str, str]):
    """Names of one kind of thing and where their code lives.

    Installed packages add names of their own as entry points of `group`. A name that is here already stays what it is.

    Args:
        kind: what the names stand for, used in error messages ("policy", "environment").
        entries: name -> "package.module:attribute".
        extra: pip extra that brings the packages these entries need, named when an import fails.
        group: of entry points ("robolearn.policies"); None = installed packages add nothing.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], extra: str | None = None, group: str | None = None):
        self.kind = kind
        self.extra = extra
        self.group = group
        self._entries: dict[str, str] = {}
        for name, target in entries.items():
            self.register(name, target)

    def register(self, name: str, target: str) -> None:
        """Add an entry. Raises ConfigError when the name is taken or the target is malformed."""
        if name in self._entries:
            raise ConfigError(f"The {self.kind} {name!r} is registered already, as {self._entries[name]}.")
        self._require_form(name, target)
        self._entries[name] = target

    def resolve(self, name: str) -> Any:
        """Import and return what `name` stands for.

        Raises ConfigError for a name that is unknown, that two packages declare or whose module lacks the attribute,
        MissingDependencyError when its packages are not installed.
        """
        try:
            target = self[name]
        except KeyError:
            raise ConfigError(unknown_name(self.kind, name, self)) from None
        self._require_form(name, target)
        module, attribute = target.split(":")
        try:
            code = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] == "robolearn":
                raise
            ours = self.extra and name in self._entries
            hint = f" Install it with: pip install '.[{self.extra}]' -c constraints.txt." if ours else ""
            place = culprit(error)
            where = f" ({place.text})" if place is not None and not place.ours else ""
            raise MissingDependencyError(
                f"The {self.kind} {name!r} needs the package {error.name!r}, which is not installed{where}.{hint}"
            ) from error
        if not hasattr(code, attribute):
            raise ConfigError(f"The {self.kind} {name!r} is {target}, but that module has no {attribute!r}.")
        return getattr(code, attribute)

    def make(self, name: str, *args: Any, **options: Any) -> Any:
        """Call what `name` stands for.

        Raises like `resolve`, SignatureError when it does not take these arguments, and what the call raises.
        """
        maker = self.resolve(name)
        try:
            return maker(*args, **options)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # not of the call, but of a line within
            file = getattr(sys.modules.get(self[name].partition(":")[0]), "__file__", None)
            raise SignatureError(
                f"The {self.kind} {name!r} ({self[name]} in {file}) cannot be made: {error}."
            ) from error

    def __getitem__(self, name: str) -> str:
        # installed packages are looked through only for what is not here: that takes milliseconds
        return self._entries[name] if name in self._entries else self._installed()[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._entries, **self._installed()})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _installed(self) -> dict[str, str]:
        """Name -> target as installed packages declare them. Nothing of theirs is imported."""
        if self.group is None:
            return {}
        from importlib import metadata  # takes longer to import than all else here

        found: dict[str, str] = {}
        for point in metadata.entry_points(group=self.group):
            if found.setdefault(point.name, point.value) != point.value:
                raise ConfigError(
                    f"The {self.kind} {point.name!r} is declared twice, as {found[point.name]} and {point.value}; "
                    "uninstall one of the two packages."
                )
        return found

    def _require_form(self, name: str, target: str) -> None:
        if target.count(":") != 1:
            raise ConfigError(f"Target {target!r} of {self.kind} {name!r} is not of the form 'module:attribute'.")
