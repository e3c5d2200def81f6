"""The Panda of our scenes: the same model whichever place its files come from."""

import dataclasses

import mujoco
import numpy as np
import pytest

from robolearn.core.errors import MissingDependencyError
from robolearn.kinematics.robots import panda
from robolearn.sim import make_env


def numbers(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """Every number of a compiled model but where its files were (whose length is in the size of the buffer, too)."""
    found = {}
    for part, owner in (("", model), ("option.", model.opt), ("statistic.", model.stat)):
        for name in dir(owner):
            value = None if name.startswith("_") else getattr(owner, name)
            if isinstance(value, np.ndarray | int | float) and not name.endswith(("paths", "pathadr", "nbuffer")):
                found[part + name] = np.asarray(value)
    return found


def compiled_from(place, monkeypatch) -> mujoco.MjModel:
    model = dataclasses.replace(panda.MODEL, places=(place,))
    try:
        model.folder()
    except MissingDependencyError as error:
        pytest.skip(f"cannot be had here: {error}")
    monkeypatch.setattr(panda, "PANDA", dataclasses.replace(panda.PANDA, model=model))
    return make_env("put_on_plate").model


def test_from_the_package_and_from_the_wheel_the_scene_is_the_same_to_the_bit(monkeypatch):
    package, wheel = (numbers(compiled_from(place, monkeypatch)) for place in panda.MODEL.places)
    assert package.keys() == wheel.keys() and len(package) > 400
    for name, values in package.items():
        np.testing.assert_array_equal(values, wheel[name], err_msg=name)


def test_the_scene_version_stands_for_one_source_of_the_robot():
    """A Panda from elsewhere is another scene: its version changes with it, and its figures are measured again."""
    env = make_env("put_on_plate")
    assert (env.scene_version, dict(env.robots)) == ("put_on_plate-1", {"panda": "robosuite-1.5.2"})
