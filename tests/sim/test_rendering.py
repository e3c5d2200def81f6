"""Which GL back-end is chosen, and that the choice holds even when MuJoCo was imported first."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.sim import make_env, rendering

RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><light pos="0 0 3"/><geom size="1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 8, 8) as renderer:
    renderer.update_scene(data)
    print(renderer.render().max() > 0)
"""


@pytest.fixture
def machine(monkeypatch):
    """A machine with the given libraries and GPU, as far as the choice can see."""

    def make(libraries=(), gpu=None, mujoco_gl=None):
        monkeypatch.setattr(rendering, "_loads", lambda library: library in libraries)
        monkeypatch.setattr(rendering, "_gpu", lambda: gpu)
        monkeypatch.delitem(sys.modules, "robosuite.utils.binding_utils", raising=False)  # other tests' doing
        if mujoco_gl is None:
            monkeypatch.delenv("MUJOCO_GL", raising=False)
        else:
            monkeypatch.setenv("MUJOCO_GL", mujoco_gl)

    return make


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean, **environment},
    )


@pytest.mark.parametrize(
    ("libraries", "gpu", "backend"),
    [
        (("libEGL.so.1", "libOSMesa.so.8"), "an NVIDIA GPU", "egl"),
        (("libEGL.so.1", "libOSMesa.so.8"), None, "osmesa"),
        (("libOSMesa.so.8",), "an NVIDIA GPU", "osmesa"),
        (("libOSMesa.so.6",), None, "osmesa"),
        (("libEGL.so.1",), None, None),
        ((), None, None),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the choice is Linux's")
def test_egl_on_a_gpu_and_osmesa_elsewhere(machine, libraries, gpu, backend):
    machine(libraries, gpu)
    assert rendering.choose_backend().backend == backend


def test_the_reason_says_what_was_found(machine):
    machine(("libOSMesa.so.8",), gpu="an NVIDIA GPU")
    assert (
        rendering.choose_backend().reason
        == "an NVIDIA GPU is there but libEGL is not, so OSMesa draws on the processor"
    )


@pytest.mark.parametrize("value", ["glfw", "egl", "OSMesa "])
def test_an_explicit_choice_is_respected(machine, value):
    machine(("libEGL.so.1", "libOSMesa.so.6"), gpu=None, mujoco_gl=value)
    assert rendering.choose_backend().backend == value.strip().lower()


def test_a_misspelt_choice_is_refused(machine):
    machine(mujoco_gl="osmessa")
    with pytest.raises(ConfigError, match="MUJOCO_GL is 'osmessa'; expected egl, osmesa or glfw"):
        rendering.choose_backend()


def test_without_any_back_end_the_line_that_installs_one_is_given(machine):
    machine()
    with pytest.raises(MissingDependencyError, match=r"Nothing can render.*apt-get install -y libosmesa6"):
        rendering.ensure_backend()


def test_switching_rendering_off_is_explained_when_something_must_render(machine):
    machine(mujoco_gl="disable")
    with pytest.raises(ConfigError, match="MUJOCO_GL=disable switches rendering off"):
        rendering.ensure_backend()


def make_node(folder, name, driver):
    (folder / "dev/dri").mkdir(parents=True, exist_ok=True)
    (folder / "dev/dri" / name).touch()
    (folder / "drivers" / driver).mkdir(parents=True, exist_ok=True)
    (folder / "sys" / name / "device").mkdir(parents=True)
    (folder / "sys" / name / "device" / "driver").symlink_to(folder / "drivers" / driver)


def test_a_software_display_driver_is_not_a_gpu(tmp_path):
    make_node(tmp_path, "renderD128", "vkms")
    assert rendering._gpu(tmp_path / "dev", tmp_path / "sys") is None
    make_node(tmp_path, "renderD129", "amdgpu")
    assert "amdgpu" in rendering._gpu(tmp_path / "dev", tmp_path / "sys")


def test_an_nvidia_device_counts_when_its_egl_is_there_too(tmp_path, monkeypatch):
    (tmp_path / "nvidiactl").touch()
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(rendering, "_loads", lambda library: library == "libEGL_nvidia.so.0")
    assert rendering._gpu(tmp_path, tmp_path) == "an NVIDIA GPU"
    monkeypatch.setattr(rendering, "_loads", lambda library: False)
    assert rendering._gpu(tmp_path, tmp_path) is None


def test_importing_this_module_does_not_import_mujoco():
    result = run("import sys, robolearn.sim.rendering; print('mujoco' in sys.modules, 'OpenGL' in sys.modules)")
    assert result.stdout == "False False\n"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import mujoco", "import robosuite", "import mujoco; import robosuite"])
def test_rendering_works_whatever_was_imported_first(first):
    if rendering.choose_backend().backend is None:
        pytest.skip("no GL back-end is installed on this machine")
    if "robosuite" in first and importlib.util.find_spec("robosuite") is None:
        pytest.skip("robosuite is not installed")
    result = run(first + "\nfrom robolearn.sim.rendering import ensure_backend\nensure_backend()\n" + RENDER)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "True"


def test_a_back_end_that_cannot_be_changed_any_more_is_explained():
    result = run(
        """
        import sys, types
        class GLXPlatform: pass
        loaded = types.ModuleType("OpenGL.platform")
        loaded.PLATFORM = GLXPlatform()
        sys.modules["OpenGL.platform"] = loaded
        from robolearn.sim.rendering import ensure_backend
        ensure_backend()
        """,
        MUJOCO_GL="osmesa",
    )
    assert "PyOpenGL was loaded for 'glx' in this process, but rendering needs 'osmesa'" in result.stderr


@pytest.mark.parametrize("name", ["put_on_plate", "robosuite/Lift", "no_such_scene"])
def test_a_wrong_mujoco_gl_is_named_before_mujoco_is_imported(monkeypatch, name):
    monkeypatch.setenv("MUJOCO_GL", "elg")
    with pytest.raises(ConfigError, match="MUJOCO_GL is 'elg'; expected egl, osmesa or glfw, or leave it unset."):
        make_env(name)


@pytest.mark.parametrize(("value", "library"), [("egl", "libEGL.so.1"), ("osmesa", "libOSMesa.so.8")])
def test_a_back_end_whose_library_is_missing_is_named_before_mujoco_fails_to_import_it(monkeypatch, value, library):
    monkeypatch.setenv("MUJOCO_GL", value)
    monkeypatch.setattr(rendering, "_loads", lambda name: False)
    with pytest.raises(MissingDependencyError, match=rf"MUJOCO_GL={value} is set, but {library} is not installed"):
        make_env("put_on_plate")


def test_a_window_where_there_is_no_display_is_one_line():
    result = run(
        """
        from robolearn.sim import make_env
        make_env("put_on_plate").render_camera("front", 8, 8)
        """,
        MUJOCO_GL="glfw", DISPLAY="", WAYLAND_DISPLAY="",
    )  # fmt: skip
    last = result.stderr.strip().splitlines()[-1]
    assert "Nothing can be drawn with glfw (MUJOCO_GL=glfw is set in the environment): " in last
    assert "Unset MUJOCO_GL, or try another value" in last
    assert "GLFWError" not in result.stderr and "Exception ignored" not in result.stderr
