"""The one place that decides how MuJoCo renders: EGL on a GPU, OSMesa (software) elsewhere.

MuJoCo reads MUJOCO_GL when its `gl_context` module is imported, which `import mujoco` does, and PyOpenGL reads
PYOPENGL_PLATFORM when `OpenGL` is first imported. Whoever renders calls `ensure_backend()` first; state-only
simulation never does and needs no GL at all.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robolearn.core.errors import ConfigError, MissingDependencyError, one_line
from robolearn.sim.coarse_meshes import coarse_meshes

if TYPE_CHECKING:
    import mujoco

APT_LINE = "apt-get install -y libosmesa6 libegl1 libgl1"
_OTHERS = f"Unset MUJOCO_GL, or try another value (egl, osmesa, and glfw with a display), or: {APT_LINE}"
_LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}
_HEADLESS = ("egl", "osmesa")
_WINDOWED = {"darwin": ("glfw", "cgl"), "win32": ("glfw", "wgl")}.get(sys.platform, ("glfw", "glx"))
_OFF = ("disable", "disabled", "off", "false", "0")
# kernel drivers behind /dev/dri/renderD* that draw on the processor
_SOFTWARE_DRIVERS = ("vgem", "vkms")


@dataclass(frozen=True)
class RenderingChoice:
    """A MUJOCO_GL value, or None when nothing can render, and why."""

    backend: str | None
    reason: str


def check_setting() -> str:
    """MUJOCO_GL in lower case, "" where it is not set.

    Raises ConfigError or MissingDependencyError for a value with which MuJoCo, pictures or not, cannot be imported.
    """
    value = os.environ.get("MUJOCO_GL", "").lower().strip()
    if value not in ("", *_HEADLESS, *_WINDOWED, *_OFF):
        raise ConfigError(f"MUJOCO_GL is {value!r}; expected egl, osmesa or glfw, or leave it unset.")
    libraries = _LIBRARIES.get(value, ())
    if libraries and not any(map(_loads, libraries)):
        raise MissingDependencyError(
            f"MUJOCO_GL={value} is set, but {libraries[0]} is not installed; unset it, or: {APT_LINE}"
        )
    return value


def choose_backend() -> RenderingChoice:
    """Decide without importing MuJoCo or changing anything. Raises ConfigError for an unknown MUJOCO_GL."""
    explicit = check_setting()
    if explicit and not _set_by_robosuite(explicit):
        return RenderingChoice(explicit, f"MUJOCO_GL={explicit} is set in the environment")
    if not sys.platform.startswith("linux"):
        return RenderingChoice("cgl" if sys.platform == "darwin" else "glfw", f"the default on {sys.platform}")
    gpu = _gpu()
    if gpu and _loads("libEGL.so.1"):
        return RenderingChoice("egl", f"{gpu} and libEGL are there")
    why_not_egl = f"{gpu} is there but libEGL is not" if gpu else "no GPU was found"
    if any(map(_loads, _LIBRARIES["osmesa"])):
        return RenderingChoice("osmesa", f"{why_not_egl}, so OSMesa draws on the processor")
    return RenderingChoice(None, f"{why_not_egl} and OSMesa is not installed")


def ensure_backend() -> RenderingChoice:
    """Make MuJoCo (and robosuite) render with the chosen back-end; call before creating any renderer.

    Raises MissingDependencyError when no back-end works, with the line that installs one, and ConfigError when
    MUJOCO_GL switches rendering off or PyOpenGL was loaded for another back-end in this process already.
    """
    choice = choose_backend()
    if choice.backend is None:
        raise MissingDependencyError(f"Nothing can render images: {choice.reason}. Install it with: {APT_LINE}")
    if choice.backend in _OFF:
        raise ConfigError(f"MUJOCO_GL={choice.backend} switches rendering off, but images are needed; unset it.")
    if choice.backend in _HEADLESS:
        loaded = _loaded_opengl_platform()
        if loaded not in (None, choice.backend):
            raise ConfigError(
                f"PyOpenGL was loaded for {loaded!r} in this process, but rendering needs {choice.backend!r}. "
                f"Start again with MUJOCO_GL={choice.backend} PYOPENGL_PLATFORM={choice.backend}."
            )
        os.environ["PYOPENGL_PLATFORM"] = choice.backend
    os.environ["MUJOCO_GL"] = choice.backend
    _correct_early_imports(choice.backend)
    return choice


def _correct_early_imports(backend: str) -> None:
    """Bring modules in line that had read the environment before it was set."""
    mujoco = sys.modules.get("mujoco")
    context = sys.modules.get("mujoco.rendering.classic.gl_context")
    if mujoco is not None and context is not None and getattr(context, "_MUJOCO_GL", None) != backend:
        # the renderer looks GLContext up in this module each time it makes one
        importlib.reload(context)
        mujoco.GLContext = context.GLContext  # type: ignore[attr-defined]
    robosuite = sys.modules.get("robosuite.utils.binding_utils")
    if robosuite is not None:
        robosuite._MUJOCO_GL = backend  # type: ignore[attr-defined]


def _set_by_robosuite(value: str) -> bool:
    """Importing robosuite without MUJOCO_GL writes `egl` there, GPU or not: that is nobody's choice."""
    return value == "egl" and "robosuite.utils.binding_utils" in sys.modules and not _loaded_opengl_platform()


def _loaded_opengl_platform() -> str | None:
    module = sys.modules.get("OpenGL.platform")
    platform = getattr(module, "PLATFORM", None)
    return None if platform is None else type(platform).__name__.removesuffix("Platform").lower()


def _gpu(dev: Path = Path("/dev"), sys_drm: Path = Path("/sys/class/drm")) -> str | None:
    """Words for the first GPU this process may use, or None."""
    if (dev / "nvidiactl").exists() and any(dev.glob("nvidia[0-9]*")):
        # containers with compute rights only have the device but not NVIDIA's EGL
        return "an NVIDIA GPU" if _loads("libEGL_nvidia.so.0") else None
    for node in sorted(dev.glob("dri/renderD*")):
        driver = (sys_drm / node.name / "device" / "driver").resolve().name
        if driver not in _SOFTWARE_DRIVERS and os.access(node, os.R_OK | os.W_OK):
            return f"a GPU ({driver}, {node})"
    return None


def _loads(library: str, load: Callable[[str], object] = ctypes.CDLL) -> bool:
    try:
        load(library)
    except OSError:
        return False
    return True


class SceneRenderer:
    """Pictures of one model in any size. GL is set up when the first one is asked for.

    Without shadows and reflections, which cost seven times the rest of a picture where there is no GPU.

    Args:
        model: compiled model; its off-screen buffer grows when a larger picture is asked for.
        options: what is drawn.
        coarse: draw simplified meshes (`coarse_meshes`) and no multisampling, for models of many triangles.
    """

    def __init__(self, model: mujoco.MjModel, options: mujoco.MjvOption, coarse: bool = False):
        self._model = model
        self._options = options
        self._coarse = coarse
        self._canvases: dict[tuple[int, int], _Canvas] = {}

    def render(self, data: mujoco.MjData, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB, upright. Raises like `ensure_backend`."""
        return self._canvas(width, height).render(self._model, data, camera, self._options)

    def depth(self, data: mujoco.MjData, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width) float64 distances [m] along the optical axis, to the far plane at most. Raises as above."""
        return self._canvas(width, height).depth(self._model, data, camera, self._options)

    def geoms(self, data: mujoco.MjData, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width) int32: which geom is seen where, -1 = none. Raises as above."""
        return self._canvas(width, height).geoms(self._model, data, camera, self._options)

    def switch(self, model: mujoco.MjModel) -> None:
        """Draw another model from now on. What GL holds is kept where meshes and textures are the same."""
        if any(not canvas.fits(model) for canvas in self._canvases.values()):
            self.close()
        self._model = model

    def _canvas(self, width: int, height: int) -> _Canvas:
        return self._canvases.get((width, height)) or self._make(width, height)

    def _make(self, width: int, height: int) -> _Canvas:
        choice = ensure_backend()
        model = self._model
        buffer = model.vis.global_
        buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # GLFW says several times what is said below
                canvas = self._canvases[width, height] = _Canvas(model, width, height, self._coarse)
        except Exception as error:  # what MuJoCo, PyOpenGL and GLFW raise has no common base
            raise MissingDependencyError(
                f"Nothing can be drawn with {choice.backend} ({choice.reason}): {one_line(error)}. {_OTHERS}"
            ) from error
        return canvas

    def close(self) -> None:
        """Give the GL contexts back; a later picture makes new ones."""
        for canvas in self._canvases.values():
            canvas.close()
        self._canvases.clear()


class _Canvas:
    """A GL context of one size with a model's meshes and textures in it."""

    # what is uploaded when a context is made; all else is read from the model for each picture
    _UPLOADED = (
        "mesh_vert", "mesh_normal", "mesh_texcoord", "mesh_face", "mesh_facenormal", "mesh_facetexcoord",
        "mesh_facenum", "tex_type", "tex_height", "tex_width", "tex_data", "hfield_data", "skin_vert", "skin_face",
    )  # fmt: skip

    def __init__(self, model: mujoco.MjModel, width: int, height: int, coarse: bool):
        import mujoco

        self._uploaded = {name: getattr(model, name).copy() for name in self._UPLOADED}
        self._gl = mujoco.GLContext(width, height)
        self._gl.make_current()
        quality = model.vis.quality
        own = quality.offsamples, quality.shadowsize
        quality.shadowsize = 0  # no shadows are drawn, so no map for them
        quality.offsamples = 0 if coarse else quality.offsamples
        with coarse_meshes(model) if coarse else nullcontext():
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        quality.offsamples, quality.shadowsize = own
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._scene, self._scene_of = mujoco.MjvScene(model, maxgeom=10_000), model

    def fits(self, model: mujoco.MjModel) -> bool:
        """Whether what was uploaded is what this model would upload."""
        return all(np.array_equal(getattr(model, name), array) for name, array in self._uploaded.items())

    def render(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, options: mujoco.MjvOption) -> np.ndarray:
        self._draw(model, data, camera, options)
        return self._colours()

    def depth(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, options: mujoco.MjvOption) -> np.ndarray:
        import mujoco

        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._draw(model, data, camera, options, as_numbers=True)
        found = np.empty((self._rectangle.height, self._rectangle.width), np.float32)
        mujoco.mjr_readPixels(None, found, self._rectangle, self._context)
        # 1 at the near plane, 0 at the far one, linear in the reciprocal distance
        near, far = (plane * model.stat.extent for plane in (model.vis.map.znear, model.vis.map.zfar))
        return near * far / (near + found[::-1].astype(np.float64) * (far - near))

    def geoms(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str, options: mujoco.MjvOption) -> np.ndarray:
        import mujoco

        self._draw(model, data, camera, options, as_numbers=True)
        picture = self._colours().astype(np.int32)
        number = picture[..., 0] + 256 * picture[..., 1] + 65536 * picture[..., 2]  # 0 = nothing
        found = np.full(self._scene.ngeom + 1, -1, np.int32)
        for seen in self._scene.geoms[: self._scene.ngeom]:
            if seen.segid >= 0 and seen.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                found[seen.segid + 1] = seen.objid
        return found[number]

    def _draw(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: str,
        options: mujoco.MjvOption,
        as_numbers: bool = False,
    ) -> None:
        """`as_numbers`: every geom in a colour that is its number in the scene."""
        import mujoco

        if model is not self._scene_of:
            self._scene, self._scene_of = mujoco.MjvScene(model, maxgeom=10_000), model
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = model.camera(camera).id
        mujoco.mjv_updateScene(model, data, options, None, view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        flags = mujoco.mjtRndFlag
        self._scene.flags[flags.mjRND_SHADOW] = self._scene.flags[flags.mjRND_REFLECTION] = False
        self._scene.flags[flags.mjRND_SEGMENT] = self._scene.flags[flags.mjRND_IDCOLOR] = as_numbers
        self._gl.make_current()
        mujoco.mjr_render(self._rectangle, self._scene, self._context)

    def _colours(self) -> np.ndarray:
        import mujoco

        picture = np.empty((self._rectangle.height, self._rectangle.width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, self._rectangle, self._context)
        return np.ascontiguousarray(picture[::-1])

    def close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()
