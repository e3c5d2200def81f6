"""What a user sees of the `robolearn` command itself."""

import os
import subprocess
import sys
import time
import types

import pytest

import robolearn
from robolearn.cli import main as cli
from robolearn.core.errors import DatasetError, RobolearnError
from robolearn.core.registry import Registry


def robolearn_command(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "robolearn", *arguments], capture_output=True, text=True, timeout=60, **options
    )


@pytest.fixture
def verb(monkeypatch):
    """Registers a function as the verb `try-me`."""

    def register(function):
        module = types.ModuleType("verb_under_test")
        module.main = function
        monkeypatch.setitem(sys.modules, "verb_under_test", module)
        monkeypatch.setattr(cli, "VERBS", Registry("verb", {"try-me": "verb_under_test:main"}))

    return register


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb_once_with_what_it_does(arguments, capsys):
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for verb_name in cli.VERBS:
        [line] = [line for line in lines if line.split()[:1] == [verb_name]]
        assert len(line.split()) > 3


def test_help_is_aligned():
    starts = {line.index(what) for verbs in cli.GROUPS.values() for line in cli.usage().splitlines()
              for what in verbs.values() if line.startswith("  ") and line.endswith(what)}  # fmt: skip
    assert len(starts) == 1


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from robolearn.cli.main import main; main(['--help']); "
        "print([m for m in ('numpy', 'rich', 'tyro', 'torch', 'mujoco', 'zarr', 'cv2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"


def test_version_is_printed():
    result = robolearn_command("--version")
    assert (result.returncode, result.stdout) == (0, f"robolearn {robolearn.__version__}\n")


def test_an_unknown_verb_gets_the_closest_one_and_status_2():
    result = robolearn_command("recrod")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "error: unknown verb 'recrod'. Did you mean 'record'? See: robolearn --help\n"


@pytest.mark.parametrize("name", list(cli.VERBS))
def test_every_verb_has_help(name):
    result = robolearn_command(name, "--help")
    assert result.returncode == 0, result.stderr
    assert name in result.stdout
    assert "Traceback" not in result.stderr


def test_a_verb_gets_the_rest_of_the_line_and_its_status_is_returned(verb):
    seen = []
    verb(lambda argv: seen.append(argv) or 1)
    assert cli.main(["try-me", "--fast", "3"]) == 1
    assert seen == [["--fast", "3"]]


@pytest.mark.parametrize("error", [RobolearnError("The cable is out."), DatasetError("The cable is out.")])
def test_an_error_of_ours_is_one_line_and_status_2(verb, capsys, error):
    def fail(argv):
        raise error

    verb(fail)
    assert cli.main(["try-me"]) == 2
    assert capsys.readouterr() == ("", "error: The cable is out.\n")


def test_a_package_that_is_not_installed_is_named_with_what_to_type(verb, capsys):
    def need_a_package(argv):
        import no_such_package_anywhere  # noqa: F401

    verb(need_a_package)
    assert cli.main(["try-me"]) == 2
    expected = (
        "error: the package 'no_such_package_anywhere' is not installed; pip install '.[all]' -c constraints.txt\n"
    )
    assert capsys.readouterr().err == expected


def test_a_missing_system_library_is_named_with_what_to_type(tmp_path):
    """opencv-python is linked against libGL, which a bare container lacks; a state-only verb needs it as well."""
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"
    )
    result = robolearn_command("dataset", "info", "x.zarr", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert result.stderr == (
        "error: the system library libGL.so.1 is missing; on Debian, as root: "
        "apt-get update && apt-get install -y --no-install-recommends libgl1 libegl1 libosmesa6 libglib2.0-0\n"
    )


def test_any_other_error_is_a_bug_and_keeps_its_traceback(verb):
    verb(lambda argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["try-me"])


def test_ctrl_c_is_status_130_without_a_traceback(verb, capsys):
    def interrupt(argv):
        raise KeyboardInterrupt

    verb(interrupt)
    assert cli.main(["try-me"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_reader_that_leaves_early_is_no_error():
    # the pipe's reading end is closed before the first byte
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen(
        [sys.executable, "-m", "robolearn", "--help"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    _, errors = process.communicate(timeout=60)
    assert errors == ""
    assert process.returncode == 0


def test_the_first_line_of_help_is_quick():
    fastest = 10.0
    for _ in range(3):
        start = time.monotonic()
        robolearn_command("--help")
        fastest = min(fastest, time.monotonic() - start)
    assert fastest < 1.0  # 0.05 s alone on a machine; others may share it
