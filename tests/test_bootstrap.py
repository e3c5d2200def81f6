"""tools/bootstrap.sh in a small copy of the repository, with stand-ins for python, pip, apt-get and ldconfig."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# makes environments that are copies of itself, writes down what pip is asked for, and is Python otherwise
PYTHON = f"""#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "version = 3.11.7" >.venv/pyvenv.cfg ;;
    "-m pip") echo "pip $*" >>calls; [ -z "$(grep -Fs -- "$(cat fail_on 2>/dev/null || echo nothing)" calls)" ] ;;
    "--version "*) echo "Python 3.11.7" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""
LIBRARIES = (
    "libOSMesa.so.8 libEGL.so.1 libGL.so.1 libusb-1.0.so.0 libgthread-2.0.so.0 "
    "libXcursor.so.1 libXrandr.so.2 libXinerama.so.1 libXi.so.6"
)


class Machine:
    def __init__(self, folder: Path):
        self.root = folder / "repository"
        self.bin = folder / "bin"
        (self.root / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / "tools" / "bootstrap.sh", self.root / "tools")
        (self.root / "constraints.txt").write_text("setuptools==84.2.1\ntorch==2.13.0\n")
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

    def bootstrap(self) -> subprocess.CompletedProcess:
        (self.root / "calls").unlink(missing_ok=True)
        return subprocess.run(
            ["bash", "tools/bootstrap.sh"],
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


def test_torch_is_installed_by_its_pin_before_anything_else(machine):
    result = machine.bootstrap()
    assert result.returncode == 0, result.stderr
    first, second = machine.calls
    assert first.endswith("-c constraints.txt torch==2.13.0 setuptools==84.2.1")
    assert second.endswith("-c constraints.txt -e .[all,dev]")
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


def test_a_run_that_was_cut_short_is_finished_by_the_next(machine):
    (machine.root / "fail_on").write_text("-e .[all,dev]")
    broken = machine.bootstrap()
    assert broken.returncode == 1
    assert "bootstrap: error: pip install -e .[all,dev] failed" in broken.stderr
    (machine.root / "fail_on").unlink()
    assert machine.bootstrap().returncode == 0
    assert len(machine.calls) == 2


def test_a_failed_update_does_not_pass_for_the_state_before_it(machine):
    machine.bootstrap()
    (machine.root / "setup.py").write_text("changed")
    (machine.root / "fail_on").write_text("-e .[all,dev]")
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
