"""What `robolearn doctor` finds of rendering. Nothing here raises."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.core.health import HealthCheck
from robolearn.core.pins import install_line, version_of
from robolearn.sim import rendering

_RENDER = """
from robolearn.sim.rendering import ensure_backend
ensure_backend()
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom size="1" rgba="1 1 1 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 8, 8) as renderer:
    renderer.update_scene(data)
    assert renderer.render().shape == (8, 8, 3)
"""


def rendering_checks() -> Iterator[HealthCheck]:
    """The choice, and a try in another process: a broken driver may end the process that asks it."""
    group = "Rendering"
    if version_of("mujoco") is None:
        yield HealthCheck(group, "back-end", "info", "MuJoCo is not installed", install_line("sim"))
        return
    try:
        choice = rendering.choose_backend()
    except (ConfigError, MissingDependencyError) as error:
        yield HealthCheck(group, "back-end", "bad", str(error), "unset MUJOCO_GL")
        return
    if choice.backend is None:
        found = f"none: {choice.reason}; state-only simulation works"
        yield HealthCheck(group, "back-end", "bad", found, rendering.APT_LINE)
        return
    yield HealthCheck(group, "back-end", "ok", f"{choice.backend}: {choice.reason}")
    start = time.monotonic()
    try:
        result = subprocess.run([sys.executable, "-c", _RENDER], capture_output=True, text=True, timeout=60)
        problem = (result.stderr.strip().splitlines() or [f"exit {result.returncode}"])[-1] if result.returncode else ""
    except subprocess.TimeoutExpired:
        problem = "no picture within 60 s"
    if problem:
        yield HealthCheck(group, "test picture", "bad", problem, f"{rendering.APT_LINE}; or try MUJOCO_GL=osmesa")
    else:
        yield HealthCheck(group, "test picture", "ok", f"rendered in {time.monotonic() - start:.1f} s, start included")
