"""What is found of rendering."""

import pytest

from robolearn.core.errors import ConfigError
from robolearn.sim import health, rendering
from robolearn.sim.health import rendering_checks
from robolearn.sim.rendering import RenderingChoice


def test_no_back_end_gives_the_line_that_installs_one(monkeypatch):
    monkeypatch.setattr(health, "version_of", lambda name: "1.0")
    monkeypatch.setattr(rendering, "choose_backend", lambda: RenderingChoice(None, "no GPU was found"))
    [check] = rendering_checks()
    assert check.status == "bad"
    assert check.advice.startswith("apt-get install -y libosmesa6")


def test_a_misspelt_back_end_is_reported_and_not_raised(monkeypatch):
    def refuse():
        raise ConfigError("MUJOCO_GL is 'osmessa'; expected egl, osmesa or glfw, or leave it unset.")

    monkeypatch.setattr(health, "version_of", lambda name: "1.0")
    monkeypatch.setattr(rendering, "choose_backend", refuse)
    [check] = rendering_checks()
    assert (check.status, check.advice) == ("bad", "unset MUJOCO_GL")


@pytest.mark.parametrize(("program", "status"), [("pass", "ok"), ("raise SystemError('no display')", "bad")])
def test_the_test_picture_is_tried_in_another_process(monkeypatch, program, status):
    monkeypatch.setattr(rendering, "choose_backend", lambda: RenderingChoice("osmesa", "asked for"))
    monkeypatch.setattr(health, "_RENDER", program)
    picture = {check.name: check for check in rendering_checks()}["test picture"]
    assert picture.status == status
    assert status == "ok" or picture.found == "SystemError: no display"
