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
    assert "1,234" in out
    words = " ".join(out.split())  # lines are as long as the terminal is wide
    assert words.startswith("line, start states 0 to 5, 4 actions executed a prediction, at most 40 steps")
    assert "+1.000 (no interval: all 6 values are equal) p = 0.031" in words
    assert (tmp_path / "page.html").is_file()


def test_a_method_is_shown_with_the_sampler_it_was_evaluated_with(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    write_evaluation(tmp_path / "few", [1.0] * 6, Path(runs[0]), sampling={"sampling_steps": 1})
    assert main(["compare", *runs, str(tmp_path / "few"), "--output", str(tmp_path / "page.html")]) == 0
    assert "\nbeso [sampling_steps=1] " in capsys.readouterr().out


def test_what_was_not_judged_is_said_beside_the_method_and_the_test(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    runs.append(str(write_evaluation(tmp_path / "unlucky", [1.0] * 6, aborted=(2,))))
    assert main(["compare", *runs, "--output", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "\nunlucky: 1 aborted (worker died), not counted\n" in out
    assert "bc - unlucky: 5 start states, 1 left out: an episode was aborted\n" in out


def test_compare_json_is_the_comparison_and_nothing_else(runs, tmp_path, capsys):
    assert main(["compare", *runs, "--json", "--output", str(tmp_path / "page.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["success"]["value"] for m in found["methods"]] == [1.0, 0.0]
    assert [p["environment"] for p in found["protocols"]] == ["line"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "runs"), (("/nowhere",), "/nowhere is no run"), (("--group", "--colour"), "--colour")],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
