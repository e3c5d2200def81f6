"""A table `name -> "module:attribute"` resolved on first use, so that nothing is imported before it is asked for.

Installed packages add names of their own by entry points. What they declare is theirs to mend, so whatever is wrong
with it is said in one line that names the package.
"""

from __future__ import annotations

import functools
import importlib
import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from robolearn.core.errors import ConfigError, MissingDependencyError, unknown_name
from robolearn.core.failure import culprit, explained
from robolearn.core.interrupt import StoppedError
from robolearn.core.pins import install_line


class SignatureError(ConfigError):
    """What a name stands for cannot be called with what it is given."""


class Declared(NamedTuple):
    """What an installed package says of a name: where its code lives, and which package that is."""

    target: str
    package: str


class Registry(Mapping[str, str]):
    """Names of one kind of thing and where their code lives.

    Installed packages add names of their own as entry points of `group`. A name that is here already stays what it is.

    Args:
        kind: what the names stand for, used in error messages ("policy", "environment").
        entries: name -> "package.module:attribute".
        extra: pip extra that brings the packages these entries need, named when an import fails.
        extras: name -> the extra that an entry needs in place of that one.
        group: of entry points ("robolearn.policies"); None = installed packages add nothing.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, str],
        extra: str | None = None,
        group: str | None = None,
        extras: Mapping[str, str] | None = None,
    ):
        self.kind = kind
        self.group = group
        self.extra = extra
        self._extras = dict(extras or {})
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
        MissingDependencyError when its packages are not installed, and UnexpectedError when the module of an installed
        package cannot be imported.
        """
        module, _, attribute = self._known(name).partition(":")
        code = self._import(name, module)
        try:
            return operator.attrgetter(attribute)(code)
        except AttributeError:
            declared = self._blame(name)
            raise ConfigError(
                f"The {self.kind} {name!r} is {self[name]}, but that module has no {attribute!r}.{declared}"
            ) from None

    def module(self, name: str) -> ModuleType:
        """The module of what `name` stands for. Raises like `resolve`."""
        self.resolve(name)
        return sys.modules[self[name].partition(":")[0]]

    def make(self, name: str, *args: Any, by: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Call what `name` stands for, or in its place `by`, which makes something of it.

        Raises like `resolve`, SignatureError when it does not take these arguments, and what the call raises.
        """
        maker = self.resolve(name) if by is None else by
        try:
            return maker(*args, **options)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # not of the call, but of a line within
            file = getattr(sys.modules.get(self[name].partition(":")[0]), "__file__", None)
            raise SignatureError(
                f"The {self.kind} {name!r} ({self[name]} in {file}) cannot be made: {error}."
            ) from error

    def package(self, name: str) -> str | None:
        """The installed package that declares `name`; None for robolearn's own and what a script has registered."""
        declared = () if name in self._entries else self._installed().get(name, ())
        return declared[0].package if declared else None

    def require(self, name: str, thing: Any, protocol: type) -> None:
        """Raises ConfigError when `thing`, which `name` stands for or has made, lacks something that `protocol` has.

        Only names are looked at: whether its methods do what they should shows when they are called.
        """
        asked = dict.fromkeys(n for n in (*vars(protocol).get("__annotations__", ()), *vars(protocol)) if n[0] != "_")
        missing = [attribute for attribute in asked if not hasattr(thing, attribute)]
        if missing:
            raise ConfigError(
                f"The {self.kind} {name!r} ({self[name]}) lacks {', '.join(missing)}, which every {self.kind} has; see "
                f"{protocol.__module__}.{protocol.__qualname__}.{self._blame(name)}"
            )

    def __getitem__(self, name: str) -> str:
        # installed packages are looked through only for what is not here: that takes milliseconds
        if name in self._entries:
            return self._entries[name]
        first, *others = self._installed()[name]
        for other in others:
            raise ConfigError(
                f"The {self.kind} {name!r} is declared twice, as {first.target} by the package {first.package!r} and "
                f"as {other.target} by {other.package!r}; uninstall one of the two packages."
            )
        return first.target

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._installed()

    def __iter__(self) -> Iterator[str]:
        return iter({**self._entries, **self._installed()})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _known(self, name: str) -> str:
        """The target of a name. Raises ConfigError for a name that is unknown and for a target that is malformed."""
        if name not in self:
            raise ConfigError(unknown_name(self.kind, name, self))
        target = self[name]
        self._require_form(name, target)
        return target

    def _import(self, name: str, module: str) -> ModuleType:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] == "robolearn":
                self._refuse(name, error)
            extra = self._extras.get(name, self.extra) if name in self._entries else None
            hint = f" Install it with: {install_line(extra)}." if extra else ""
            place = culprit(error)
            where = f" ({place.text})" if place is not None and not place.ours else ""
            raise MissingDependencyError(
                f"The {self.kind} {name!r} needs the package {error.name!r}, which is not installed{where}.{hint}"
                f"{self._blame(name)}"
            ) from error
        except StoppedError:
            raise
        except (Exception, SystemExit) as error:  # a script without a guard ends the program where it is imported
            self._refuse(name, error)

    def _refuse(self, name: str, error: BaseException) -> NoReturn:
        """Raise why a module cannot be imported: of an installed package in one line that names it."""
        if (package := self.package(name)) is None:
            raise error
        raise explained(error, f"The {self.kind} {name!r} of the package {package!r} cannot be imported") from error

    def _blame(self, name: str) -> str:
        """The sentence that names the installed package whose entry `name` is; empty for others."""
        package = self.package(name)
        return "" if package is None else f" The package {package!r} declares it, in {self.group}."

    def _installed(self) -> dict[str, tuple[Declared, ...]]:
        return {} if self.group is None else _declared(self.group, _search_path())

    def _require_form(self, name: str, target: str) -> None:
        module, colon, attribute = target.partition(":")
        if not (module and colon and attribute) or ":" in attribute:
            raise ConfigError(
                f"Target {target!r} of {self.kind} {name!r} is not of the form 'module:attribute'.{self._blame(name)}"
            )


def _search_path() -> tuple[tuple[str, int], ...]:
    """Where packages are installed, with the times at which one was last added or removed there."""
    times = []
    for folder in sys.path:
        try:
            times.append((folder, os.stat(folder or ".").st_mtime_ns))
        except OSError:
            times.append((folder, 0))
    return tuple(times)


@functools.lru_cache(maxsize=64)
def _declared(group: str, path: tuple[tuple[str, int], ...]) -> dict[str, tuple[Declared, ...]]:
    """Name -> what packages installed along `path` declare, different targets only. Nothing of theirs is imported."""
    from importlib import metadata  # takes longer to import than all else here

    points = [(p.name, p.dist.name if p.dist else "?", p.value) for p in metadata.entry_points(group=group)]
    found: dict[str, tuple[Declared, ...]] = {}
    for name, package, target in sorted(points):
        others = found.setdefault(name, ())
        if target not in (other.target for other in others):
            found[name] = (*others, Declared(target, package))
    return found
