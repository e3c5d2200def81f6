"""What a user sees of the `robolearn` command itself."""

import os
import subprocess
import sys
import threading
import time
import types

import pytest

import robolearn
from robolearn.cli import main as cli
from robolearn.core.errors import DatasetError, RobolearnError
from robolearn.core.pins import install_line
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
@pytest.mark.slow
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


@pytest.fixture
def of_ours(verb):
    """Registers a verb with this body, as a module of robolearn."""

    def register(body):
        scope = {"__name__": "robolearn.cli.under_test"}
        exec(compile(f"def main(argv):\n    {body}\n", "/x/robolearn/cli/under_test.py", "exec"), scope)
        verb(scope["main"])

    return register


def test_a_package_that_is_not_installed_is_named_with_what_to_type(of_ours, capsys):
    of_ours("import no_such_package_anywhere")
    assert cli.main(["try-me"]) == 2
    expected = f"error: the package 'no_such_package_anywhere' is not installed; {install_line('all')}\n"
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


def test_a_bug_of_ours_is_one_line_with_its_place_and_status_70(of_ours, capsys):
    of_ours("1 / 0")
    assert cli.main(["try-me"]) == 70
    assert capsys.readouterr().err == (
        "error: a bug in robolearn, ZeroDivisionError: division by zero at /x/robolearn/cli/under_test.py, line 2, in "
        "main. Please report it with what --debug shows.\n"
    )


def test_an_error_in_a_users_own_code_is_one_line_with_its_place_and_status_2(verb, capsys):
    verb(lambda argv: 1 / 0)
    assert cli.main(["try-me"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: ZeroDivisionError: division by zero at {__file__}, line ")
    assert line.endswith(", in <lambda>. --debug shows the whole traceback.")


def test_a_users_own_code_that_exits_does_not_pass_for_success(verb, capsys):
    verb(lambda argv: sys.exit(0))
    assert cli.main(["try-me"]) == 2
    assert capsys.readouterr().err.startswith(f"error: SystemExit: 0 at {__file__}, line ")


@pytest.mark.parametrize("arguments", [["--debug", "try-me", "-x"], ["try-me", "-x", "--debug"]])
def test_debug_shows_the_whole_traceback_before_the_line(verb, capsys, monkeypatch, arguments):
    monkeypatch.setenv("ROBOLEARN_DEBUG", "")
    seen = []
    verb(lambda argv: seen.append(argv) or 1 / 0)
    assert cli.main(arguments) == 2
    errors = capsys.readouterr().err
    assert seen == [["-x"]]  # the verb does not see it
    assert errors.startswith("Traceback (most recent call last):") and "seen.append(argv) or 1 / 0" in errors
    assert errors.splitlines()[-1].startswith("error: ZeroDivisionError")


def test_a_threads_exception_is_one_line(verb, capsys):
    def in_a_thread(argv):
        thread = threading.Thread(target=lambda: 1 / 0, name="cameras")
        thread.start()
        thread.join()

    verb(in_a_thread)
    assert cli.main(["try-me"]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: thread 'cameras': ZeroDivisionError: division by zero at {__file__}")


@pytest.mark.parametrize(
    ("closed", "status"), [(">&-", 0), ("<&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0), ("> /dev/full", 2)]
)
def test_standard_streams_that_are_closed_or_full_are_no_traceback(closed, status):
    result = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m robolearn --version {closed}"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == status
    expected = "error: no space left on device; free some, or write elsewhere.\n" if status else ""
    assert result.stderr == expected


def test_a_file_opened_while_standard_output_is_closed_gets_no_output_in_it(tmp_path):
    program = (
        f"from robolearn.cli import main; main.main(['--version']); f = open({str(tmp_path / 'f')!r}, 'w'); "
        "import os; os.system('echo hello'); print('hello'); f.close()"
    )
    subprocess.run(["sh", "-c", f'exec {sys.executable} -c "$0" >&-', program], check=True, timeout=60)
    assert (tmp_path / "f").read_text() == ""


def test_a_path_that_is_no_text_can_be_named(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "robolearn", "dataset", "info", os.fsencode(tmp_path) + b"/\xff\xfe.zarr"],
        capture_output=True, timeout=60, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.startswith(b"error: ") and b"\\udcff" in result.stderr


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


@pytest.mark.realtime
def test_the_first_line_of_help_is_quick():
    fastest = 10.0
    for _ in range(3):
        start = time.monotonic()
        robolearn_command("--help")
        fastest = min(fastest, time.monotonic() - start)
    assert fastest < 1.0  # 0.05 s alone on a machine; others may share it
