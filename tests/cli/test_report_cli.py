import json
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn.cli import report
from robolearn.core.errors import ConfigError
from robolearn.evaluation.statistics.figures import Figure, write_figures

REPOSITORY = Path(__file__).resolve().parents[2]


def test_report_prints_every_figure_in_one_table(tmp_path, capsys):
    write_figures(tmp_path / "a.json", [Figure("demo.total_s", 412.5, "s", 1, "make demo")])
    write_figures(tmp_path / "b.json", [Figure("sim.ratio", 4.2, "1", 3, "python benchmarks/sim.py", (3.9, 4.5))])
    assert report.main(["--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["demo.total_s", "412.5", "s"]
    assert lines[3].split()[:5] == ["sim.ratio", "4.2", "1", "[3.9,", "4.5]"]


def test_report_prints_json_for_programs(tmp_path, capsys):
    write_figures(tmp_path / "a.json", [Figure("demo.total_s", 412.5, "s", 1, "make demo")])
    assert report.main(["--results", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["value"] == 412.5


def test_report_of_a_missing_folder_says_how_to_measure(tmp_path):
    with pytest.raises(ConfigError, match="Measure them with"):
        report.main(["--results", str(tmp_path / "nowhere")])


def test_the_published_figures_are_readable(capsys):
    assert report.main(["--results", str(REPOSITORY / "benchmarks" / "results")]) == 0


def test_an_unknown_benchmark_gets_the_list(tmp_path):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / "run.py", "--quick", "no_such_thing"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: Unknown benchmark 'no_such_thing'.")
    assert len(done.stderr.splitlines()) == 1
