import json
from pathlib import Path

import pytest

from robolearn.core.errors import ConfigError
from robolearn.evaluation.statistics.figures import (
    RESULTS,
    Figure,
    format_number,
    format_table,
    read_figures,
    results_file,
    write_figures,
)


def figure(**changes):
    values = {"id": "demo.eval_success", "value": 0.96, "unit": "1", "n": 50, "command": "make demo", "seeds": (0,)}
    return Figure(**{**values, **changes})


def test_a_figure_knows_where_it_came_from():
    found = figure()
    assert "python" in found.versions
    assert "cores" in found.machine
    assert found.date.startswith("20")


def test_a_figure_survives_its_file_unchanged(tmp_path):
    written = figure(interval=(0.865, 0.989), config={"epochs": 3}, notes="Wilson 95 %")
    write_figures(tmp_path / "demo.json", [written])
    assert read_figures(tmp_path) == [written]
    entry = json.loads((tmp_path / "demo.json").read_text())[0]
    assert list(entry) == [
        "id", "value", "unit", "n", "interval", "seeds", "command", "config", "versions", "machine", "date", "notes",
    ]  # fmt: skip


def test_writing_replaces_the_same_id_and_seeds_and_keeps_the_rest(tmp_path):
    path = tmp_path / "deep" / "demo.json"
    write_figures(path, [figure(seeds=(1,)), figure(seeds=(0,)), figure(id="demo.total_s", unit="s", value=400.0)])
    write_figures(path, [figure(seeds=(1,), value=1.0)])
    assert [(f.id, f.seeds, f.value) for f in read_figures(path)] == [
        ("demo.eval_success", (0,), 0.96),
        ("demo.eval_success", (1,), 1.0),
        ("demo.total_s", (0,), 400.0),
    ]


def test_what_is_measured_of_several_is_an_entry_each_under_one_id(tmp_path):
    path = tmp_path / "sim.json"
    rates = [figure(id="sim.steps_per_s", value=v, config={"variant": n}) for n, v in (("plate", 3.0), ("blocks", 7.0))]
    write_figures(path, rates)
    write_figures(path, [figure(id="sim.steps_per_s", value=4.0, config={"variant": "plate"})])
    assert [(f.variant, f.value) for f in read_figures(path)] == [("blocks", 7.0), ("plate", 4.0)]
    rows = format_table(read_figures(path)).split("\n")[2:]
    assert [" ".join(row.split()[:3]) for row in rows] == ["sim.steps_per_s [blocks] 7", "sim.steps_per_s [plate] 4"]


def test_published_figures_can_be_read_and_none_is_there_twice():
    keys = [figure.key for figure in read_figures(Path(__file__).parents[3] / RESULTS)]
    assert keys and len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "Success"}, "'Success' is not of the form part.name"),
        ({"value": float("nan")}, "value nan, expected a finite number"),
        ({"value": True}, "value True"),
        ({"n": 0}, "n = 0"),
        ({"unit": ""}, "needs a unit"),
        ({"interval": (0.97, 0.99)}, r"outside its interval \[0.97, 0.99\]"),
    ],
)
def test_a_figure_that_says_nonsense_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        figure(**change)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "broken.json is not a readable list of figures"),
        ("[1]", "broken.json, entry 0: found int, expected a figure"),
        ('[{"id": "a.b"}]', "broken.json, entry 0: .*missing"),
        ('[{"id": "a.b", "value": 1, "unit": "s", "n": 1, "command": "x", "colour": 3}]', "unexpected .*'colour'"),
    ],
)
def test_a_broken_file_is_named_with_its_entry(tmp_path, content, message):
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_figures(tmp_path)


def test_a_missing_folder_says_how_to_measure(tmp_path):
    with pytest.raises(ConfigError, match=r"no figures at .*benchmarks/run.py --full"):
        read_figures(tmp_path / "nowhere")


def test_quick_forms_do_not_touch_published_results():
    assert str(results_file("sim", quick=True)) == "outputs/bench/sim.json"
    assert str(results_file("sim", quick=False)) == "benchmarks/results/sim.json"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.94, "0.94"), (0, "0"), (1234.567, "1235"), (12.3456, "12.35"), (-0.5, "-0.5"), (3e-7, "3.000e-07"), (1, "1")],
)
def test_numbers_keep_four_significant_digits(value, text):
    assert format_number(value) == text


def test_the_table_aligns_ids_left_and_values_right():
    lines = format_table(
        [figure(interval=(0.865, 0.989), date="2026-11-21T03:00:00"), figure(id="demo.total_s", unit="s", value=412.5)]
    ).split("\n")
    assert lines[2].startswith("demo.eval_success   0.96  1     [0.865, 0.989]  50  0      2026-11-21")
    assert lines[3].startswith("demo.total_s       412.5  s")
