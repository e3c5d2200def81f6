import re

import mujoco
import pytest

from robolearn.core.errors import MissingDependencyError
from robolearn.kinematics import specs


def test_what_collides_is_drawn(arm):
    spec = arm.spec()
    colliding = [geom for geom in spec.geoms if geom.contype or geom.conaffinity]
    assert len(colliding) >= len(arm.joints)
    assert {geom.group for geom in colliding} <= {0, 1, 2}  # the groups that MuJoCo's renderer shows


@pytest.mark.parametrize("text", ["garbage", "<mujoco><worldbody><body></mujoco>", ""])
def test_a_file_that_is_no_model_is_named(tmp_path, text):
    (tmp_path / "arm.xml").write_text(text)
    with pytest.raises(
        MissingDependencyError, match=f"{re.escape(str(tmp_path))}/arm.xml is no robot model that MuJoCo"
    ):
        specs.read(tmp_path / "arm.xml")


def test_a_damaged_mesh_is_named(tmp_path):
    (tmp_path / "link.stl").write_text("junk")
    spec = mujoco.MjSpec()
    spec.modelname = "arm"
    spec.add_mesh(name="link", file=str(tmp_path / "link.stl"))
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="link")
    with pytest.raises(MissingDependencyError, match=r"'arm' cannot be built \(.*link.*take the model's files anew"):
        specs.compiled(spec)
