"""Old names of modules are answered with the new ones."""

import importlib
import importlib.util
import re
import subprocess
import sys

import pytest

from robolearn.core.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_says_the_new_one_and_that_is_there(old):
    with pytest.raises(ModuleNotFoundError) as raised:
        importlib.import_module(old)
    assert str(raised.value).startswith(f"{old} is now robolearn.")
    for new in re.findall(r"robolearn[\w.]+", MOVED[old]):
        assert importlib.util.find_spec(new) is not None, new


def test_an_old_name_is_answered_too_when_it_is_taken_from_its_package():
    with pytest.raises(
        ModuleNotFoundError, match=r"robolearn\.datasets\.reader is now robolearn\.datasets\.read\.reader"
    ):
        exec("from robolearn.datasets import reader")


def test_an_import_in_a_script_is_told_in_its_last_line():
    script = "from robolearn.datasets.reader import Dataset"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: robolearn.datasets.reader is now robolearn.datasets.read.reader; import it from there."
    )


def test_what_never_was_is_not_found_as_usual():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'robolearn\.datasets\.neverwas'"):
        importlib.import_module("robolearn.datasets.neverwas")


def test_names_of_a_module_that_became_a_room_are_still_there():
    from robolearn.evaluation.statistics import behaviour_entropy, bootstrap_mean, wilson_interval

    low, high = wilson_interval(8, 10).interval
    assert low < 0.8 < high and callable(bootstrap_mean) and callable(behaviour_entropy)
