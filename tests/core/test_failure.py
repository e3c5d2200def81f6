"""Whose code an exception came from, and what is said of it in one line."""

from __future__ import annotations

import errno
import pickle
import sys
from pathlib import Path

import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.core.failure import UnexpectedError, culprit, explained, is_users, tell
from robolearn.core.registry import Registry, SignatureError
from robolearn.core.rotation import rot6d_to_matrix

# what calls, and what catches, as if it were a module of robolearn: this file is a user's own
_OURS = """
def caught(act, *args):
    try:
        act(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")

def call(act, *args):
    return act(*args)
"""
_MODULE: dict = {"__name__": "robolearn.some.module"}
exec(compile(_OURS, "/x/robolearn/some/module.py", "exec"), _MODULE)
caught, call = _MODULE["caught"], _MODULE["call"]


def load(tmp_path: Path, name: str, text: str):
    (tmp_path / f"{name}.py").write_text(text)
    sys.path.insert(0, str(tmp_path))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop(name, None)


def test_the_innermost_line_of_the_users_own_code_is_named(tmp_path):
    scene = load(tmp_path, "my_scene", "def reset():\n    half = 1\n    return {}['cube']\n")
    told = explained(caught(scene.reset))
    assert str(told) == (
        f"KeyError: 'cube' at {tmp_path}/my_scene.py, line 3, in reset. --debug shows the whole traceback."
    )
    assert isinstance(told, UnexpectedError) and not told.ours
    assert "half = 1" not in told.details and "return {}['cube']" in told.details


def test_what_a_library_raises_for_the_users_code_is_the_users(tmp_path):
    scene = load(tmp_path, "my_numbers", "import json\n\ndef read():\n    return json.loads('{')\n")
    assert culprit(caught(scene.read)).text == f"{tmp_path}/my_numbers.py, line 4, in read"


def test_a_fault_of_ours_below_the_users_code_names_the_users_line(tmp_path):
    scene = load(tmp_path, "my_call", "def reset(function):\n    return function('no matrix')\n")
    assert is_users(caught(scene.reset, rot6d_to_matrix))


def test_without_a_line_of_the_users_it_is_a_bug_of_ours():
    told = explained(caught(call, int, "x"))
    assert str(told) == (
        "a bug in robolearn, ValueError: invalid literal for int() with base 10: 'x' at /x/robolearn/some/module.py, "
        "line 10, in call. Please report it with what --debug shows."
    )
    assert isinstance(told, UnexpectedError) and told.ours


def test_an_installed_package_that_declares_something_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr("robolearn.core.failure._library_folders", lambda: (str(tmp_path),))
    plugin = load(tmp_path, "their_plugin", "def reset():\n    return 1 / 0\n")
    error = caught(plugin.reset)
    monkeypatch.setattr("robolearn.core.failure._plugins", lambda: frozenset())
    assert not is_users(error)
    monkeypatch.setattr("robolearn.core.failure._plugins", lambda: frozenset({"their_plugin"}))
    assert culprit(error).text == f"{tmp_path}/their_plugin.py, line 2, in reset"


def test_a_compiled_extension_which_has_but_a_relative_name_is_a_library(tmp_path):
    av = pytest.importorskip("av")
    told = explained(caught(av.open, str(tmp_path / "nowhere.mp4")))
    assert str(told) == f"{tmp_path}/nowhere.mp4: no such file or directory."


def test_a_file_that_is_no_python_is_named(tmp_path):
    told = explained(caught(load, tmp_path, "my_typo", "x = 1\ndef reset(:\n    pass\n"))
    assert str(told).startswith("SyntaxError: ") and f"{tmp_path}/my_typo.py, line 2" in str(told)


def test_it_survives_the_way_from_a_worker():
    told = explained(caught(call, int, "x"), "start state 3")
    back = pickle.loads(pickle.dumps(told))
    assert (str(back), back.details, back.ours) == (str(told), told.details, True)
    assert str(back).startswith("start state 3: a bug in robolearn, ValueError")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device; free some, or write elsewhere."),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: permission denied."),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"/x"), "/x: is a directory."),
        (MemoryError(), "not enough memory; close other programs, or ask for less."),
        (ImportError("libGL.so.1: cannot open shared object file: No such file"), "the system library libGL.so.1 is"),
    ],
)
def test_what_the_system_refuses_is_nobodys_bug(error, words):
    told = explained(error)
    assert str(told).startswith(words) and not isinstance(told, UnexpectedError)


def test_memory_that_torch_cannot_have_is_nobodys_bug():
    torch = pytest.importorskip("torch")
    refused = caught(lambda: torch.empty(10**15)).with_traceback(None)  # here the line would be a user's
    card = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB"
    )
    for error, wanted in [(refused, "4000000000000000 bytes"), (card, "20.00 GiB")]:
        assert str(explained(error)) == (
            f"not enough memory (tried to allocate {wanted}); close other programs, or ask for less."
        )


def test_a_file_that_the_users_code_does_not_find_is_named_with_the_line(tmp_path):
    scene = load(tmp_path, "my_model", "def load():\n    open('/no/such/scene.xml')\n")
    told = str(explained(caught(scene.load)))
    assert "'/no/such/scene.xml' at " in told and f"{tmp_path}/my_model.py, line 2, in load" in told


def test_what_only_ends_a_request_is_told_in_one_line_and_whole_with_debug(tmp_path, capsys, monkeypatch):
    policy = load(tmp_path, "my_policy_served", "def sample():\n    return {}['layer']\n")
    error = caught(policy.sample)
    monkeypatch.setenv("ROBOLEARN_DEBUG", "0")
    tell(error, "an inference")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: an inference: KeyError: 'layer' at {tmp_path}/my_policy_served.py, line 2")
    monkeypatch.setenv("ROBOLEARN_DEBUG", "1")
    tell(error, "an inference")
    assert capsys.readouterr().err.startswith("Traceback (most recent call last)")


def test_errors_of_ours_stay_what_they_are():
    error = ConfigError("--steps must be at least 1, found 0.")
    assert explained(error) is error


def test_a_package_that_the_users_module_wants_is_named_with_the_line(tmp_path, monkeypatch):
    (tmp_path / "my_policy.py").write_text("import os\n\nimport no_such_package_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError) as error:
        Registry("policy", {"mine": "my_policy:Policy"}).resolve("mine")
    assert str(error.value) == (
        "The policy 'mine' needs the package 'no_such_package_anywhere', which is not installed "
        f"({tmp_path}/my_policy.py, line 3, in <module>)."
    )


def test_a_call_that_does_not_fit_names_the_class_and_its_file(tmp_path, monkeypatch):
    (tmp_path / "my_env.py").write_text("class Mine:\n    def __init__(self):\n        int(None)\n")
    monkeypatch.syspath_prepend(tmp_path)
    environments = Registry("environment", {"mine": "my_env:Mine"})
    with pytest.raises(SignatureError, match=r"'mine' \(my_env:Mine in .*my_env.py\).*unexpected keyword.*'cameras'"):
        environments.make("mine", cameras=())
    with pytest.raises(TypeError, match="NoneType") as error:  # of a line within it
        environments.make("mine")
    assert culprit(error.value).text == f"{tmp_path}/my_env.py, line 3, in __init__"
