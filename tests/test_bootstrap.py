"""tools/bootstrap.sh in a small copy of the repository, with stand-ins for python, pip, apt-get and ldconfig."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]

# makes environments that are copies of itself, writes down what pip is asked for, and is Python otherwise
PYTHON = f"""#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo "version = 3.11.7" >"$4/pyvenv.cfg" ;;
    "-m pip") echo "pip $*" >>calls; [ -z "$(grep -Fs -- "$(cat fail_on 2>/dev/null || echo nothing)" calls)" ] ;;
    "-m robolearn.kinematics.prefetch") touch prefetched; [ ! -e no_models ] || (echo "error: no way"; exit 2) ;;
    "--version "*) echo "Python 3.11.7" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""
LIBRARIES = (
    "libOSMesa.so.8 libEGL.so.1 libGL.so.1 libusb-1.0.so.0 libgthread-2.0.so.0 "
    "libXcursor.so.1 libXrandr.so.2 libXinerama.so.1 libXi.so.6"
)


# set of pins -> (environment, file, extras)
SETS = {
    "": (".venv", "constraints.txt", ".[all,robosuite,dev]"),
    "newest": (".venv-newest", "constraints-newest.txt", ".[all,dev]"),
}


def pins(name: str, extras: str, *others: str) -> str:
    lines = ["# Which versions.", f"#     pip install -c {name} -e '{extras}'", "setuptools==84.2.1", "torch==2.13.0"]
    return "\n".join([*lines, *others]) + "\n"


class Machine:
    def __init__(self, folder: Path):
        self.root = folder / "repository"
        self.bin = folder / "bin"
        (self.root / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / "tools" / "bootstrap.sh", self.root / "tools")
        (self.root / "constraints.txt").write_text(pins("constraints.txt", ".[all,robosuite,dev]", "evdev==2.0.0"))
        (self.root / "constraints-newest.txt").write_text(pins("constraints-newest.txt", ".[all,dev]"))
        for name in ("setup.py", "pyproject.toml"):
            (self.root / name).write_text("")
        self.command("python3.11", PYTHON)
        self.command("ldconfig", f"#!/bin/sh\nprintf '%s\\n' {LIBRARIES}\n")
        self.command("cc", "#!/bin/sh\nexit 0\n")
        self.command("id", "#!/bin/sh\necho 0\n")
        self.command("apt-get", "#!/bin/sh\necho apt-get $* >>calls\n")
        self.command("Xvfb", "#!/bin/sh\n")
        self.command("chromium", "#!/bin/sh\n")
        self.command("strace", "#!/bin/sh\n")

    def command(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def bootstrap(self, *arguments: str) -> subprocess.CompletedProcess:
        (self.root / "calls").unlink(missing_ok=True)
        return subprocess.run(
            ["bash", "tools/bootstrap.sh", *arguments],
            cwd=self.root,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "PYTHON": str(self.bin / "python3.11"), "HOME": os.devnull},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("name", SETS)
def test_torch_is_installed_by_its_pin_before_anything_else(machine, name):
    environment, file, extras = SETS[name]
    result = machine.bootstrap(*name.split())
    assert result.returncode == 0, result.stderr
    assert [folder.name for folder in machine.root.glob(".venv*")] == [environment]
    first, second = machine.calls
    assert first.endswith(f"-c {file} torch==2.13.0 setuptools==84.2.1")
    assert second.endswith(f"-c {file} -e {extras}")
    assert all(line.startswith("bootstrap: ") for line in result.stdout.splitlines())


def test_a_second_run_does_and_says_nothing(machine):
    machine.bootstrap()
    again = machine.bootstrap()
    assert (again.returncode, again.stdout, again.stderr, machine.calls) == (0, "", "", [])


@pytest.mark.parametrize("file", ["constraints.txt", "setup.py", "pyproject.toml", "tools/bootstrap.sh"])
def test_a_change_of_what_decides_the_packages_installs_again(machine, file):
    machine.bootstrap()
    with (machine.root / file).open("a") as text:
        text.write("# changed\n")
    assert machine.bootstrap().returncode == 0
    assert len(machine.calls) == 2


def test_the_two_sets_are_set_up_apart(machine):
    """Neither passes for the other, and a change of one set's pins leaves the other as it is."""
    machine.bootstrap()
    assert machine.bootstrap("newest").returncode == 0
    assert len(machine.calls) == 2
    with (machine.root / "constraints-newest.txt").open("a") as text:
        text.write("numpy==2.4.6\n")
    machine.bootstrap()
    assert machine.calls == []
    machine.bootstrap("newest")
    assert len(machine.calls) == 2


@pytest.mark.parametrize("name", SETS)
def test_robot_models_are_taken_with_the_packages_and_their_absence_stops_nothing(machine, name):
    assert machine.bootstrap(*name.split()).returncode == 0
    assert (machine.root / "prefetched").exists()
    (machine.root / "no_models").touch()
    (machine.root / "setup.py").write_text("changed")
    result = machine.bootstrap(*name.split())
    assert result.returncode == 0
    assert "error: no way" in result.stderr
    assert "takes it when it is first made" in result.stdout
    assert machine.bootstrap(*name.split()).stdout == ""


def test_the_first_set_asks_for_an_older_python(machine):
    """numpy 1.26 has no wheel for 3.13."""
    is_3_13 = 'case "$*" in *"not in sys.argv"*3.13*) exit 0 ;; *"not in sys.argv"*) exit 1 ;; esac'
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        machine.command(name, PYTHON.replace("#!/bin/sh", f"#!/bin/sh\n{is_3_13}"))
    refused = machine.bootstrap()
    assert refused.returncode == 1
    assert "constraints.txt needs Python 3.11 or 3.12, which was not found. Install it" in refused.stderr
    assert machine.calls == []
    assert machine.bootstrap("newest").returncode == 0


def test_an_unknown_set_is_refused(machine):
    result = machine.bootstrap("newst")
    assert result.returncode == 1
    assert result.stderr == (
        "bootstrap: error: there is no set of pins called 'newst'. Usage: tools/bootstrap.sh [newest]\n"
    )
    assert not list(machine.root.glob(".venv*"))


@pytest.mark.parametrize("name", SETS)
def test_the_pins_say_what_is_installed_with_them(machine, name):
    _, file, extras = SETS[name]
    real = (ROOT / file).read_text()
    (machine.root / file).write_text(real)
    assert machine.bootstrap(*name.split()).returncode == 0
    assert machine.calls[-1].endswith(f"-c {file} -e {extras}")
    (machine.root / file).write_text(real.replace(extras, "all of it"))
    assert f"{file} has no line" in machine.bootstrap(*name.split()).stderr


def test_a_run_that_was_cut_short_is_finished_by_the_next(machine):
    (machine.root / "fail_on").write_text("-e .[all,robosuite,dev]")
    broken = machine.bootstrap()
    assert broken.returncode == 1
    assert "bootstrap: error: pip install -e .[all,robosuite,dev] failed" in broken.stderr
    (machine.root / "fail_on").unlink()
    assert machine.bootstrap().returncode == 0
    assert len(machine.calls) == 2


def test_a_failed_update_does_not_pass_for_the_state_before_it(machine):
    machine.bootstrap()
    (machine.root / "setup.py").write_text("changed")
    (machine.root / "fail_on").write_text("-e .[all,robosuite,dev]")
    assert machine.bootstrap().returncode == 1
    (machine.root / "setup.py").write_text("")
    (machine.root / "fail_on").unlink()
    assert machine.bootstrap().returncode == 0
    assert len(machine.calls) == 2


def test_a_half_made_environment_is_made_anew(machine):
    machine.bootstrap()
    (machine.root / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    (machine.root / ".venv/.robolearn-stamp").unlink()
    assert "making .venv" in machine.bootstrap().stdout


def test_missing_libraries_are_installed_by_root(machine):
    machine.command("ldconfig", "#!/bin/sh\necho libEGL.so.1 libGL.so.1\n")
    assert machine.bootstrap().returncode == 0
    assert machine.calls[0].startswith("apt-get update")
    assert machine.calls[1].startswith("apt-get install -q -y --no-install-recommends libosmesa6 libusb-1.0-0 ")


def test_others_are_told_the_line_to_run_and_the_rest_goes_on(machine):
    machine.command("ldconfig", f"#!/bin/sh\necho {LIBRARIES.replace('libOSMesa.so.8', '')}\n")
    machine.command("id", "#!/bin/sh\necho 1000\n")
    result = machine.bootstrap()
    assert result.returncode == 0
    line = "apt-get update && apt-get install -y --no-install-recommends libosmesa6"
    assert f"bootstrap: system packages are missing. As root, run: {line}\n" in result.stdout
    assert not [call for call in machine.calls if call.startswith("apt-get")]


def test_without_a_compiler_nothing_is_installed_that_would_fail_later(machine):
    machine.command("cc", "#!/bin/sh\nexit 1\n")
    machine.command("id", "#!/bin/sh\necho 1000\n")
    result = machine.bootstrap()
    assert result.returncode == 1
    assert "cannot go on without: gcc libc6-dev linux-libc-dev libpython3." in result.stderr
    assert machine.calls == []
    assert machine.bootstrap("newest").returncode == 0  # nothing in it has to be compiled
