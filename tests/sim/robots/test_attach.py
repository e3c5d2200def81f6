"""Robots in scenes: attached in silence, and saved as they are."""

import warnings

import mujoco
import numpy as np
import pytest

from robolearn.kinematics import specs
from robolearn.sim import make_env
from robolearn.sim.tasks.put_on_plate import SETUPS


@pytest.fixture(params=SETUPS)
def name(request, require_robot):
    """Of a scene with each robot."""
    require_robot(SETUPS[request.param].robot)
    return f"put_on_plate/{request.param}".rstrip("/")


def test_making_the_scene_says_nothing_and_leaves_no_file(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=specs.NO_PREFIX)  # as in the module, which pytest takes back
        make_env(name).model_xml()
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_other_warnings_of_mujoco_are_passed_on():
    before = mujoco.get_mju_user_warning()
    with specs.no_prefix(), pytest.warns(UserWarning, match="something else"):
        mujoco.get_mju_user_warning()("something else")
    assert mujoco.get_mju_user_warning() is before


def test_the_saved_scene_is_the_scene(name):
    """As datasets keep it: it can be read again, with every name as it was."""
    scene = make_env(name)
    read = mujoco.MjModel.from_xml_string(scene.model_xml())
    assert read.names == scene.model.names
    for name in ("qpos0", "body_mass", "body_inertia", "geom_size", "actuator_gainprm", "dof_damping"):
        np.testing.assert_allclose(getattr(read, name), getattr(scene.model, name), rtol=1e-6, atol=1e-9, err_msg=name)
