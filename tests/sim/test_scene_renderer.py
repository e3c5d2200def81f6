"""Pictures of scenes: coarse ones look alike, and a model that looks the same takes over what GL holds."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from robolearn.sim.rendering import SceneRenderer, choose_backend

if choose_backend().backend is None:
    pytest.skip("nothing here can render", allow_module_level=True)

SCENE = """
<mujoco>
  <asset><mesh name="ball" builtin="sphere" params="4" scale="{radius} {radius} {radius}"/></asset>
  <worldbody>
    <light pos="0 0 2"/>
    <camera name="front" pos="0 -0.5 0" xyaxes="1 0 0 0 0 1"/>
    <body pos="{x} 0 0"><geom type="mesh" mesh="ball" rgba="1 0 0 1"/></body>
  </worldbody>
</mujoco>
"""


def scene(x: float = 0.0, radius: float = 0.1) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(SCENE.format(x=x, radius=radius))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def red_columns(picture: np.ndarray) -> np.ndarray:
    return np.flatnonzero((picture[..., 0] > 2 * picture[..., 1]).any(axis=0))


def test_a_coarse_picture_differs_at_the_outline_only():
    model, data = scene()
    fine, coarse = (SceneRenderer(model, mujoco.MjvOption(), coarse) for coarse in (False, True))
    pictures = [renderer.render(data, "front", 64, 64).astype(int) for renderer in (fine, coarse)]
    fine.close(), coarse.close()
    inside = [(picture[..., 0] > 60) for picture in pictures]
    assert inside[0].sum() > 300
    assert (inside[0] != inside[1]).sum() < 0.1 * inside[0].sum()


def test_another_model_of_the_same_meshes_is_drawn_without_a_new_context():
    first, other = scene(), scene(x=0.15)
    renderer = SceneRenderer(first[0], mujoco.MjvOption(), coarse=True)
    middle = red_columns(renderer.render(first[1], "front", 64, 64)).mean()
    canvas = dict(renderer._canvases)
    renderer.switch(other[0])
    right = red_columns(renderer.render(other[1], "front", 64, 64)).mean()
    assert renderer._canvases == canvas
    renderer.close()
    assert abs(middle - 31.5) < 1.5
    assert right > middle + 8


def test_a_model_of_other_meshes_is_uploaded_anew():
    first, other = scene(), scene(radius=0.05)
    renderer = SceneRenderer(first[0], mujoco.MjvOption(), coarse=True)
    wide = red_columns(renderer.render(first[1], "front", 64, 64))
    renderer.switch(other[0])
    narrow = red_columns(renderer.render(other[1], "front", 64, 64))
    renderer.close()
    assert len(narrow) < 0.7 * len(wide)


def test_the_model_keeps_its_own_quality_settings():
    model, data = scene()
    model.vis.quality.offsamples, model.vis.quality.shadowsize = 4, 1024
    renderer = SceneRenderer(model, mujoco.MjvOption(), coarse=True)
    renderer.render(data, "front", 32, 32)
    renderer.close()
    assert (model.vis.quality.offsamples, model.vis.quality.shadowsize) == (4, 1024)
