"""Places of robot models: data files of an installed package, and MuJoCo Menagerie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from robolearn.core.errors import ConfigError, MissingDependencyError, one_line, unknown_name
from robolearn.core.pins import install_line


@dataclass(frozen=True)
class PackageData:
    """Files that came with an installed package, which is not imported.

    Attributes:
        package: its import name.
        inside: the folder in the package.
    """

    package: str
    inside: str = "."

    def folder(self, files: tuple[str, ...]) -> Path:
        if (folder := self.present()) is not None:
            return folder
        raise MissingDependencyError(
            f"The package {self.package!r} with its robot models is not installed. "
            f"Install it with: pip install {self.package}"
        )

    def present(self) -> Path | None:
        found = find_spec(self.package)
        locations = (found.submodule_search_locations or ()) if found is not None else ()
        return next((folder for place in locations if (folder := Path(place) / self.inside).is_dir()), None)

    @property
    def remedy(self) -> str:
        return f"install the package again: pip install --force-reinstall --no-deps {self.package}"


@dataclass(frozen=True)
class Menagerie:
    """A model of MuJoCo Menagerie, through DeepMind's package `mujoco-menagerie`.

    `MENAGERIE_ROOT` names a checkout to use instead. Otherwise the model is downloaded on first use, with a progress
    bar on a terminal, into that package's cache (`MENAGERIE_CACHE_DIR`).

    Attributes:
        model: its folder's name, "franka_emika_panda".
    """

    model: str

    def folder(self, files: tuple[str, ...]) -> Path:
        """Raises ConfigError for a name that Menagerie does not have."""
        if root := os.environ.get("MENAGERIE_ROOT"):
            return self._of_checkout(Path(root))
        try:
            import mujoco_menagerie
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"The robot model {self.model!r} comes from MuJoCo Menagerie through the package 'mujoco-menagerie', "
                f"which is not installed. Install it with: {install_line('sim')}, or set "
                "MENAGERIE_ROOT to a checkout."
            ) from error
        if self.model not in mujoco_menagerie.names():
            raise ConfigError(unknown_name("robot model of MuJoCo Menagerie", self.model, mujoco_menagerie.names()))
        cache = mujoco_menagerie.Cache()
        try:
            return Path(mujoco_menagerie.get(self.model).path(cache))
        except (mujoco_menagerie.MenagerieError, OSError) as error:
            raise MissingDependencyError(
                f"The robot model {self.model!r} is not in {cache.dir} and could not be downloaded "
                f"({one_line(error)}). Where there is a network, type: mujoco-menagerie prefetch {self.model}; or set "
                "MENAGERIE_ROOT to a checkout of https://github.com/google-deepmind/mujoco_menagerie"
            ) from error

    def present(self) -> Path | None:
        if root := os.environ.get("MENAGERIE_ROOT"):
            folder = Path(root) / self.model
            return folder.absolute() if folder.is_dir() else None
        try:
            import mujoco_menagerie
        except ModuleNotFoundError:
            return None
        try:
            cache, robot = mujoco_menagerie.Cache(), mujoco_menagerie.get(self.model)
            return Path(cache.model_path(robot)) if cache.is_cached(robot) else None
        except (mujoco_menagerie.MenagerieError, OSError):
            return None

    def _of_checkout(self, root: Path) -> Path:
        if not root.is_dir():
            raise MissingDependencyError(
                f"MENAGERIE_ROOT={root} is not a folder; set it to a checkout of MuJoCo Menagerie, or unset it."
            )
        if not (root / self.model).is_dir():
            models = [folder.name for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
            found = unknown_name("robot model", self.model, models)
            raise ConfigError(f"MENAGERIE_ROOT={root}: {found} Unset MENAGERIE_ROOT to download it.")
        return (root / self.model).absolute()

    @property
    def remedy(self) -> str:
        if root := os.environ.get("MENAGERIE_ROOT"):
            return f"check out another revision in {root}, or unset MENAGERIE_ROOT"
        return "install the version of mujoco-menagerie that it was measured with, or type: mujoco-menagerie clear"
