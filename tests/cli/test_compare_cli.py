import json
import sys
from pathlib import Path

import pytest

from robolearn.cli.main import main

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))
from example_runs import write_evaluation, write_training


@pytest.fixture
def runs(tmp_path):
    training = write_training(tmp_path / "beso", "beso", evaluated=[1.0] * 6)
    return [str(training), str(write_evaluation(tmp_path / "bc", [0.0] * 6))]


def test_compare_prints_intervals_and_tests_and_writes_the_page(runs, tmp_path, capsys):
    assert main(["compare", *runs, "--output", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "1.000 [0.610, 1.000]" in out
    assert "beso - bc: 6 start states" in out
    assert "p = 0.031  (McNemar, exact)" in out
    assert (tmp_path / "page.html").is_file()


def test_compare_json_is_the_comparison_and_nothing_else(runs, tmp_path, capsys):
    assert main(["compare", *runs, "--json", "--output", str(tmp_path / "page.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["success"]["value"] for m in found["methods"]] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "runs"), (("/nowhere",), "/nowhere is no run"), (("--group", "--colour"), "--colour")],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
