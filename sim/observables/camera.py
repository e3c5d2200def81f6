"""`Cameras`: what cameras see of a simulation: pictures, over a photograph perhaps, distances, and what is where."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import mujoco
import numpy as np

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.feature import Feature
from robolearn.sim.observables.observable import Observable
from robolearn.sim.observables.photograph import fitted
from robolearn.sim.rendering import SceneRenderer

NOTHING = "nothing"
_LARGEST_LABEL = 255


class Cameras:
    """Draws what cameras see; GL is set up for the first picture.

    Args:
        name: of the environment, for messages.
        hulls: draw the hulls of meshes in place of the meshes, which may have thousands of triangles.
        called: name of a body that stands in the world -> its label, where that is another one.
        photographs: camera -> (H, W, 3) uint8 picture of a real place, seen where the world's own geoms (a table, a
            wall) or nothing would be: arms and things are drawn over it. After the visual matching of SIMPLER (Li et
            al. 2024, arXiv:2405.05941).

    Attributes:
        names: of the cameras.
        labels: what the numbers of a segmentation stand for: "nothing", the world's geoms, the bodies that stand in it.
    """

    def __init__(
        self,
        name: str,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        hulls: bool = False,
        photographs: Mapping[str, np.ndarray] | None = None,
        called: Mapping[str, str] | None = None,
    ):
        self.names = tuple(model.camera(number).name for number in range(model.ncam))
        self._name, self._model, self._data = name, model, data
        self._photographs = dict(photographs or {})
        for camera in self._photographs:
            self.check(camera)
        self._fitted: dict[tuple[str, int, int], np.ndarray] = {}
        shown = mujoco.MjvOption()
        shown.flags[mujoco.mjtVisFlag.mjVIS_CONVEXHULL] = hulls
        self._renderer = SceneRenderer(model, shown)
        self.labels, self._label_of_geom = _labels(model, called or {})
        self._drawn_over = np.append(model.geom_bodyid != 0, False)  # by number of the geom, of none the last

    def check(self, camera: str) -> None:
        """Raises ConfigError for a camera that is not there."""
        if camera not in self.names:
            raise ConfigError(unknown_name(f"camera of the environment {self._name!r}", camera, self.names))

    def picture(self, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB of what is there now. Raises ConfigError for an unknown camera."""
        self.check(camera)
        self._settle()
        drawn = self._renderer.render(self._data, camera, width, height)
        if camera not in self._photographs:
            return drawn
        photograph = self._fitted.get((camera, width, height))
        if photograph is None:
            photograph = self._fitted[camera, width, height] = fitted(self._photographs[camera], width, height)
        over = self._drawn_over[self._renderer.geoms(self._data, camera, width, height)]
        return np.where(over[..., None], drawn, photograph)

    def depth(self, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width) uint16 distances [mm] along the optical axis; 0 where they are beyond 65 m."""
        self.check(camera)
        self._settle()
        found = np.rint(1000.0 * self._renderer.depth(self._data, camera, width, height))
        return np.where(found > np.iinfo(np.uint16).max, 0.0, found).astype(np.uint16)

    def segmentation(self, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width, 1) uint8 numbers of `labels`."""
        self.check(camera)
        self._settle()
        return self._label_of_geom[self._renderer.geoms(self._data, camera, width, height)][..., None]

    def images(self, camera: str, size: int) -> Observable:
        """`observation.images.<camera>`, square."""
        feature = Feature(f"observation.images.{camera}", (size, size, 3), "uint8", "image")
        return Observable(feature, partial(self.picture, camera, size, size))

    def depths(self, camera: str, size: int) -> Observable:
        """`observation.depth.<camera>`, square."""
        feature = Feature(f"observation.depth.{camera}", (size, size), "uint16", "depth", unit="mm")
        return Observable(feature, partial(self.depth, camera, size, size))

    def segmentations(self, camera: str, size: int) -> Observable:
        """`observation.segmentation.<camera>`, square."""
        feature = Feature(f"observation.segmentation.{camera}", (size, size, 1), "uint8", "image")
        return Observable(feature, partial(self.segmentation, camera, size, size))

    def close(self) -> None:
        self._renderer.close()

    def _settle(self) -> None:
        # mj_step leaves bodies, and what they carry, one step behind
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)


def _labels(model: mujoco.MjModel, called: Mapping[str, str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Labels, and (G + 1,) the number of the label of each geom, of none last."""
    numbers: dict[str, int] = {NOTHING: 0}
    found = np.zeros(model.ngeom + 1, np.uint8)
    for geom in range(model.ngeom):
        body = int(model.body_rootid[model.geom_bodyid[geom]])
        name = model.body(body).name if body else model.geom(geom).name
        number = numbers.setdefault(called.get(name, name) or f"geom {geom}", len(numbers))
        found[geom] = min(number, _LARGEST_LABEL)
    return tuple(numbers), found
