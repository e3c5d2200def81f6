"""What an exception that nobody foresaw says of itself in one line: where it happened, and in whose code.

An installed package or a script may add policies, scenes and robots. An exception in one of them is theirs to mend, so
its own file and line are named; without any line of theirs it is a bug of robolearn, and says so.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import site
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from types import FrameType

from robolearn.core.errors import MissingDependencyError, RobolearnError, one_line
from robolearn.core.pins import install_line

# of rendering, and of opencv-python, which is linked against GL and glib whatever it is used for
LIBRARIES = "apt-get update && apt-get install -y --no-install-recommends libgl1 libegl1 libosmesa6 libglib2.0-0"
DEBUG = "ROBOLEARN_DEBUG"  # environment variable, so that worker processes have it, too
LONGEST = 2000  # characters of what an exception says
BUG_STATUS = 70  # what sysexits.h calls an internal software error


def debugging() -> bool:
    """Whether whole tracebacks are wanted: `--debug`, or ROBOLEARN_DEBUG=1."""
    return os.environ.get(DEBUG, "") not in ("", "0")


class UnexpectedError(RobolearnError):
    """An exception that is no `RobolearnError`, described; it can be sent from one process to another.

    Attributes:
        details: the whole traceback, where it happened.
        ours: whether it is a bug of robolearn.
    """

    def __init__(self, message: str, details: str, ours: bool):
        super().__init__(message)
        self.details, self.ours = details, ours

    def __reduce__(self) -> tuple[type[UnexpectedError], tuple[str, str, bool]]:
        return type(self), (str(self), self.details, self.ours)

    @classmethod
    def of(cls, error: BaseException, doing: str = "") -> UnexpectedError:
        """The description of an exception that was caught.

        Args:
            doing: what was being done, as the beginning of the line.
        """
        if isinstance(error, UnexpectedError):
            return error
        place = culprit(error)
        start, ours = f"{doing}: " if doing else "", place is None or place.ours
        words = one_line(str(error), LONGEST)
        said = f"{type(error).__name__}: {words}" if words else type(error).__name__
        at = f" at {place.text}" if place is not None else ""
        if ours:
            message = f"{start}a bug in robolearn, {said}{at}. Please report it with what --debug shows."
        else:
            message = f"{start}{said}{at}. --debug shows the whole traceback."
        return cls(message, traceback_of(error), ours)


def explained(error: BaseException, doing: str = "") -> RobolearnError:
    """An exception as one that is a line for the user: itself, what the system refused, or an `UnexpectedError`."""
    if isinstance(error, RobolearnError):
        return error
    start = f"{doing}: " if doing else ""
    library, _, reason = str(error).partition(": cannot open shared object file")
    if isinstance(error, ImportError) and reason:
        return MissingDependencyError(
            f"{start}the system library {library} is missing; on Debian, as root: {LIBRARIES}"
        )
    if is_users(error):
        return UnexpectedError.of(error, doing)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "robolearn":
        return MissingDependencyError(f"{start}the package {error.name!r} is not installed; {install_line('all')}")
    if isinstance(error, OSError) and error.strerror is not None:
        if error.filename is not None:
            return RobolearnError(f"{start}{os.fsdecode(error.filename)}: {error.strerror.lower()}.")
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return RobolearnError(f"{start}{error.strerror.lower()}; free some, or write elsewhere.")
    if (words := _memory_wanted(error)) is not None:
        return RobolearnError(f"{start}not enough memory{words}; close other programs, or ask for less.")
    return UnexpectedError.of(error, doing)


def line_of(error: BaseException, doing: str) -> str:
    """What is said of an exception that ends nothing: what was being done, whatever kind it is, and what went wrong."""
    told = str(explained(error, doing))
    return told if told.startswith(f"{doing}: ") else f"{doing}: {told}"


def _memory_wanted(error: BaseException) -> str | None:
    """How much memory could not be had, in brackets where that is known; None for an error of another kind."""
    text = one_line(str(error), LONGEST)
    if isinstance(error, MemoryError):
        return f" ({text})" if text else ""
    # torch's: of a graphics card, and a RuntimeError of the processor's
    if type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and "CPUAllocator" in text):
        wanted = re.search(r"ried to allocate ([\d.]+ \w+)", text)
        return f" (tried to allocate {wanted[1]})" if wanted else ""
    return None


@dataclass(frozen=True)
class Place:
    """A line of code.

    Attributes:
        text: file, line and function.
        ours: whether it is robolearn's.
    """

    text: str
    ours: bool


def culprit(error: BaseException) -> Place | None:
    """The innermost line of a user's own code that an exception passed through; where there is none, of robolearn's."""
    if isinstance(error, SyntaxError) and error.filename and not _is_library(os.path.abspath(error.filename), ""):
        return Place(f"{error.filename}, line {error.lineno}", "/robolearn/" in error.filename)
    ours: Place | None = None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == "robolearn":
            ours = ours or Place(_text(frame, line), ours=True)
        elif not _is_library(frame.f_code.co_filename, module):
            return Place(_text(frame, line), ours=False)
    return ours


def tell(error: BaseException, doing: str = "") -> None:
    """Say on standard error, in one line, what ends a thread or a request and nothing else; all of it with --debug."""
    told = explained(error, doing)
    if debugging():
        print(traceback_of(error), file=sys.stderr)
    print(f"error: {told}", file=sys.stderr, flush=True)


def traceback_of(error: BaseException) -> str:
    """What Python would print."""
    return "".join(traceback.format_exception(error)).rstrip()


def is_users(error: BaseException) -> bool:
    """Whether an exception passed through a user's own code."""
    place = culprit(error)
    return place is not None and not place.ours


def _text(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name}"


def _is_library(file: str, module: str) -> bool:
    """Whether code is Python's or of an installed package that declares nothing to robolearn."""
    if file.startswith("<") or not (module or os.path.isabs(file)):
        return True  # the latter are compiled extensions, which have but the name of their source
    if module.partition(".")[0] in _plugins():
        return False
    return any(file.startswith(folder + os.sep) for folder in _library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], site.getusersitepackages()]
    return tuple({*found, *map(os.path.realpath, found)})


@functools.cache
def _plugins() -> frozenset[str]:
    """Names of the installed packages whose entry points add something to robolearn."""
    from importlib import metadata

    groups = (group for group in metadata.entry_points().groups if group.startswith("robolearn."))
    points = (point for group in groups for point in metadata.entry_points(group=group))
    return frozenset(point.value.partition(":")[0].partition(".")[0] for point in points)
