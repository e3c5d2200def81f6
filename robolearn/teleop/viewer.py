"""MuJoCo's own viewer beside the loop, where there is a display. Keys stay with the operator's terminal."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import Any

from robolearn.core.errors import one_line
from robolearn.sim.env import SimEnv

_CLOSE_S = 5.0
_LOOK_AT_M = (0.45, 0.0, 0.1)


class SceneViewer:
    """A window that shows a model and its data; make it with `open_viewer`."""

    def __init__(self, model: Any, data: Any):
        import mujoco.viewer

        before = set(threading.enumerate())
        self._handle = mujoco.viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False)
        self._threads = set(threading.enumerate()) - before
        # over the arm's shoulder, so that forward is away from the viewer and left is left
        camera = self._handle.cam
        camera.lookat[:] = _LOOK_AT_M
        camera.distance, camera.azimuth, camera.elevation = 1.5, 30.0, -35.0

    def sync(self) -> bool:
        """Show the state of now; False once the window has been closed."""
        if not self._handle.is_running():
            return False
        self._handle.sync()
        return True

    def close(self) -> None:
        """Close the window and wait for its threads: GLFW must not be torn down under them at exit."""
        self._handle.close()
        for thread in self._threads:
            thread.join(_CLOSE_S)


def open_viewer(env: SimEnv) -> tuple[SceneViewer | None, str]:
    """Open a window on `env`, if that can work here; and say in words what was done or why not.

    Call it before any image is rendered: MuJoCo keeps one table of GL functions per process, so images must then
    be rendered through GLFW as well, which this arranges unless MUJOCO_GL says otherwise.
    """
    if env.model is None or env.data is None:
        return None, f"No viewer: {env.name} is not a MuJoCo scene of our own."
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None, "No viewer: there is no display (DISPLAY is not set)."
    backend = os.environ.get("MUJOCO_GL", "")
    if env.cameras and backend not in ("", "glfw", "glx"):
        return None, f"No viewer: pictures are rendered with MUJOCO_GL={backend}, which excludes a window; unset it."
    problem = _window_problem()
    if problem:
        return None, f"No viewer: {problem}"
    if not backend:
        os.environ["MUJOCO_GL"] = "glfw"
    try:
        return SceneViewer(env.model, env.data), "MuJoCo's viewer shows the scene; keys are read in this terminal."
    except (RuntimeError, ValueError) as error:  # for example on macOS without mjpython
        return None, f"No viewer: {one_line(error)}"


def _window_problem() -> str | None:
    """Why no OpenGL window can be made here, or None.

    MuJoCo's viewer would wait for ever without GLFW, and end the process without an OpenGL window.
    """
    try:
        import glfw
    except ImportError as error:
        return f"GLFW cannot be imported ({error})."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not glfw.init():
            return f"the display {os.environ.get('DISPLAY', '')!r} cannot be opened."
        glfw.window_hint(glfw.VISIBLE, False)
        window = glfw.create_window(64, 64, "", None, None)
        glfw.default_window_hints()
        if not window:
            return "the display has no OpenGL."
        glfw.destroy_window(window)
    return None
