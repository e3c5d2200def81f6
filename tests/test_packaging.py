"""The wheel and the sdist hold real files, and the wheel works in an environment that has nothing else."""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("hardware", "sim", "datasets")


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    result = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    return result


def build_wheel(source: Path, where: Path) -> Path:
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "wheel", source, *options, "-w", where, cwd=where.parent)
    [wheel] = where.glob("*.whl")
    return wheel


def python_files(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("robolearn/") and name.endswith(".py")}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is packaged, so that building leaves nothing behind in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "robolearn"
    copy.mkdir()
    for name in ("robolearn", *LINKED):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_module_as_a_real_file(source, wheel):
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
    files = [file for name in ("robolearn", *LINKED) for file in (source / name).rglob("*.py")]
    expected = {str(file.relative_to(source)) for file in files}
    expected = {name if name.startswith("robolearn/") else f"robolearn/{name}" for name in expected}
    assert python_files([entry.filename for entry in entries]) == expected
    # the upper half of external_attr holds the file mode; 0o120000 would be a symlink
    assert not [entry.filename for entry in entries if (entry.external_attr >> 16) & 0o170000 == 0o120000]


def test_the_wheel_holds_the_page_of_dataset_view(wheel):
    page = ROOT / "datasets" / "view" / "page"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"robolearn/datasets/view/page/{file.name}" for file in page.iterdir()} <= names


def test_the_wheel_owns_no_top_level_name_but_its_own(wheel):
    """A top-level `datasets` would overwrite Hugging Face's."""
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"robolearn"}


def test_a_wheel_built_from_the_sdist_is_the_same(source, wheel, tmp_path):
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    run(sys.executable, "-c", build, cwd=source)
    [sdist] = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
    (tmp_path / "wheel").mkdir()
    rebuilt = build_wheel(sdist, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(rebuilt) as second:
        assert set(first.namelist()) == set(second.namelist())


def test_the_wheel_works_alone_in_an_empty_environment(wheel, tmp_path):
    """Without extras: the client imports, and neither torch nor a simulator is there."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-input", "--no-compile", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    program = (
        "import sys, robolearn.serving.client as client; print(client.__file__);"
        "print([m for m in ('torch', 'mujoco', 'zarr', 'cv2') if m in sys.modules])"
    )
    location, imported = run(python, "-c", program, cwd=tmp_path).stdout.splitlines()
    assert location.startswith(str(environment))
    assert imported == "[]"
    command = environment / "bin" / "robolearn"
    assert "Usage: robolearn VERB" in run(command, "--help", cwd=tmp_path).stdout
    assert "opencv-python" in run(command, "doctor", cwd=tmp_path).stdout
    # a verb whose extra is missing says which package and what to type
    refused = subprocess.run([command, "train", "--dataset", "x.zarr"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr
