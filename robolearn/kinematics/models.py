"""`RobotModel`: which files make a robot's model, and the places that they may be taken from.

What a model is never depends on what happens to be installed: a model that a scene uses names the checksum of its
files, and a place that holds other ones is passed over.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from robolearn.core.errors import MissingDependencyError


class ModelPlace(Protocol):
    """Somewhere that files of robot models can be had: `sources.py` and `wheel.py`."""

    def folder(self, files: tuple[str, ...]) -> Path:
        """The folder that `files` are relative to, with those files in it as far as this place has them.

        Raises MissingDependencyError, with what to type, where it cannot be had.
        """
        ...

    def present(self) -> Path | None:
        """The folder that `folder` would give, where files are on this machine. Nothing is downloaded or raised."""
        ...

    @property
    def remedy(self) -> str:
        """What to do about wrong files, as the end of a sentence."""
        ...


@dataclass(frozen=True)
class RobotModel:
    """The files of a robot's model.

    Attributes:
        name: of the robot.
        version: of the model, as results name it: "robosuite-1.5.2".
        places: tried in this order.
        files: that are used, relative to the folder of the place.
        sha256: `checksum` of the files; None = whatever the first place has. Scenes of fixed dynamics name it.
    """

    name: str
    version: str
    places: tuple[ModelPlace, ...]
    files: tuple[str, ...]
    sha256: str | None = None

    def folder(self) -> Path:
        """The folder with `files` in it.

        Raises MissingDependencyError where no place has them, with what to do about the last one, and what was wrong
        with files that the others had.
        """
        said: list[str] = []  # what is wrong with the files that places have
        refused = f"The model of the robot {self.name!r} names no place to take it from."
        for place in self.places:
            try:
                folder = place.folder(self.files)
            except MissingDependencyError as error:
                refused = str(error)
                continue
            lost = [file for file in self.files if not (folder / file).is_file()]
            if lost:
                wrong = f"{folder} lacks {lost[0]}"
            elif self.sha256 is None or (found := checksum(folder, self.files)) == self.sha256:
                return folder
            else:
                wrong = f"the files in {folder} have the checksum {found[:12]}..., expected {self.sha256[:12]}..."
            refused = f"The model {self.version} of {self.name} is incomplete or changed: {wrong}; {place.remedy}."
            said.append(wrong)
        others = [wrong for wrong in said if wrong not in refused]
        raise MissingDependencyError(refused + "".join(f" Passed over: {wrong}." for wrong in others))

    def measured_version(self) -> str:
        """`version`; of a model without a pinned checksum, with the first digits of that of the files in use.

        Raises like `folder`.
        """
        return (
            self.version if self.sha256 is not None else f"{self.version}-{_short_checksum(self.folder(), self.files)}"
        )

    def present(self) -> Path | None:
        """The folder with `files` in it, where a place has them on this machine already. Nothing is downloaded."""
        for place in self.places:
            folder = place.present()
            if folder is None or not all((folder / file).is_file() for file in self.files):
                continue
            if self.sha256 is None or checksum(folder, self.files) == self.sha256:
                return folder
        return None


@functools.lru_cache(maxsize=64)
def _short_checksum(folder: Path, files: tuple[str, ...]) -> str:
    """Read once a process: files of a model are not changed under a running program."""
    return checksum(folder, files)[:12]


def checksum(folder: Path, files: tuple[str, ...]) -> str:
    """sha256 of names and content of files, in hexadecimal digits."""
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file}\0{hashlib.sha256((folder / file).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()
