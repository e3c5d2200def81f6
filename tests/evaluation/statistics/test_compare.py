import json
import re
import sys
from pathlib import Path

import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.evaluation.pages.comparison import write_comparison
from robolearn.evaluation.statistics.compare import compare
from robolearn.evaluation.statistics.runs import load_runs

sys.path.append(str(Path(__file__).parents[1]))
from example_runs import write_evaluation, write_training

GOOD, BAD = [1.0] * 8 + [0.0] * 2, [1.0] * 2 + [0.0] * 8


def names(comparison):
    return [method.name for method in comparison.methods]


def test_a_training_folder_brings_its_curves(tmp_path):
    (run,) = load_runs([write_training(tmp_path / "a", losses=(4.0, 2.0, 1.0))])
    assert run.curves["loss"] == ([10, 20, 30], [4.0, 2.0, 1.0])
    assert run.curves["val_loss"] == ([30], [2.0])
    assert run.evaluation is None


def test_a_training_folder_brings_the_newest_of_its_own_evaluations(tmp_path):
    (run,) = load_runs([write_training(tmp_path / "a", evaluated=GOOD)])
    assert run.evaluation.successes == 8


def test_an_evaluation_joins_the_training_run_that_its_policy_is_from(tmp_path):
    training = write_training(tmp_path / "a", evaluated=BAD)
    evaluation = write_evaluation(tmp_path / "eval", GOOD, training)
    (run,) = load_runs([evaluation / "results.json", training])
    assert (run.path, run.evaluation.successes, len(run.curves["loss"][0])) == (training, 8, 2)


def test_a_second_evaluation_of_a_policy_stands_beside_it(tmp_path):
    training = write_training(tmp_path / "a")
    evaluations = [write_evaluation(tmp_path / "eval" / name, GOOD, training) for name in ("3_steps", "10_steps")]
    assert [run.name for run in load_runs([training, *evaluations])] == ["a", "10_steps"]


def test_an_evaluation_with_another_sampler_is_not_the_result_of_its_run(tmp_path):
    training = write_training(tmp_path / "a", evaluated=BAD)
    evaluation = write_evaluation(tmp_path / "e", GOOD, training, sampling={"sampling_steps": 1, "sampler": "heun"})
    run, other = load_runs([evaluation, training])
    assert (run.name, run.evaluation.successes) == ("a", 2)
    assert (other.name, other.evaluation.successes) == ("a [sampling_steps=1, sampler=heun]", 8)


def test_an_evaluation_with_another_sampler_is_called_by_its_policy(tmp_path):
    training = write_training(tmp_path / "a")
    paths = [write_evaluation(tmp_path / f"e{k}", GOOD, training, sampling={"sampling_steps": k}) for k in (1, 2)]
    paths.append(write_evaluation(tmp_path / "e3", GOOD))
    assert [run.name for run in load_runs(paths)] == ["a [sampling_steps=1]", "a [sampling_steps=2]", "e3"]


def test_evaluations_of_one_policy_with_one_sampler_are_called_by_their_folders(tmp_path):
    training = write_training(tmp_path / "a")
    paths = [write_evaluation(tmp_path / e, GOOD, training, sampling={"sampling_steps": 1}) for e in ("e1", "e2")]
    assert [run.name for run in load_runs([training, *paths])] == [
        "a",
        "e1 [sampling_steps=1]",
        "e2 [sampling_steps=1]",
    ]


def test_names_are_as_short_as_they_can_be(tmp_path):
    paths = [write_evaluation(tmp_path / part / "pusht", GOOD) for part in ("bc", "beso")]
    assert [run.name for run in load_runs(paths)] == ["bc/pusht", "beso/pusht"]


def test_start_states_that_were_not_judged_on_both_sides_are_left_out_and_counted(tmp_path):
    """The first was not judged on 8, which it failed, nor on 1; the second not on 0."""
    paths = [
        write_evaluation(tmp_path / "a", GOOD, aborted=(1, 8)), write_evaluation(tmp_path / "b", BAD, aborted=(0,)),
    ]  # fmt: skip
    comparison = compare(load_runs(paths))
    (pair,) = comparison.pairs
    assert (pair.start_states, pair.left_out) == (7, 3)
    assert pair.differences[0].value.value == pytest.approx(6 / 7)
    assert comparison.methods[0].estimate("success").n == 8
    assert comparison.protocols[0][0].start_states == (0, 9)
    page = write_comparison(comparison, tmp_path / "page.html").read_text()
    assert "7, 3 left out" in page and "8, 2 aborted" in page
    assert "Left out are start states where an episode was aborted" in page


def test_methods_that_were_never_judged_on_the_same_start_state_are_not_compared(tmp_path):
    paths = [
        write_evaluation(tmp_path / "a", GOOD[:4], aborted=(0, 1)),
        write_evaluation(tmp_path / "b", GOOD[:4], aborted=(2, 3)),
    ]
    (pair,) = compare(load_runs(paths)).pairs
    assert (pair.reason, pair.left_out) == ("no start state on which both were judged", 4)


def test_the_difference_is_tested_on_the_start_states_both_ran_from(tmp_path):
    """States 2 to 9 are shared: of these the first solves 2 to 7, the second (which began at 2) 2 and 3."""
    paths = [write_evaluation(tmp_path / "a", GOOD), write_evaluation(tmp_path / "b", BAD, first=2)]
    (pair,) = compare(load_runs(paths)).pairs
    success, score = pair.differences
    assert (pair.start_states, success.value.value) == (8, pytest.approx(4 / 8))
    assert success.p == score.p == pytest.approx(2 / 2**4)  # 4 : 0, and scores that are 0 or 1 say the same
    assert success.detail == "4 solved by the first only, 0 by the second only"
    assert success.value.low < 0.5 < success.value.high


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"first": 100}, "no start state in common"),
        ({"name": "circle"}, "different environments: line version 1 and circle version 1"),
        ({"scene_version": "2"}, "different environments: line version 1 and line version 2"),
        ({"max_steps": 50}, "different limits of steps: 40 and 50"),
        ({"options": {"size": 3}}, "different options of the environment: none and size=3"),
        (
            {"goals": {"dataset": "data/g.zarr", "checksum": "ab" * 32, "mask": "val"}},
            "different goals: none and mask val of dataset abababababab",
        ),
    ],
)
def test_what_is_not_alike_is_not_compared(tmp_path, other, reason):
    paths = [write_evaluation(tmp_path / "a", GOOD), write_evaluation(tmp_path / "b", GOOD, **other)]
    (pair,) = compare(load_runs(paths)).pairs
    assert (pair.reason, pair.differences) == (reason, ())


def test_a_run_without_evaluation_is_shown_and_not_tested(tmp_path):
    comparison = compare(load_runs([write_training(tmp_path / "a"), write_evaluation(tmp_path / "b", GOOD)]))
    assert comparison.pairs[0].reason == "no evaluation of a"
    assert comparison.methods[0].estimate("success") is None
    assert comparison.methods[0].final("loss") == 0.5


def three_seeds(tmp_path):
    """Two methods: bc with one seed, beso with three whose success is .8, .2 and .8."""
    paths = [write_training(tmp_path / "bc_seed0", evaluated=BAD)]
    for seed, scores in enumerate((GOOD, BAD, GOOD)):
        paths.append(write_training(tmp_path / f"beso_seed{seed}", "beso", seed, evaluated=scores))
    return paths


def test_seeds_of_one_method_become_a_mean_with_their_range(tmp_path):
    comparison = compare(load_runs(three_seeds(tmp_path)), group=True)
    assert names(comparison) == ["bc_seed0", "beso (3 seeds)"]
    estimate = comparison.methods[1].estimate("success")
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.6, 0.2, 0.8))
    assert (estimate.n, estimate.method) == (3, "range over 3 seeds")


def test_seeds_evaluated_with_another_sampler_are_a_method_of_their_own(tmp_path):
    paths = three_seeds(tmp_path)[1:]
    for k, training in enumerate(paths[:3]):
        paths.append(write_evaluation(tmp_path / f"few{k}", GOOD, training, "beso", k, sampling={"sampling_steps": 1}))
    found = names(compare(load_runs(paths), group=True))
    assert found == ["beso (3 seeds)", "beso (3 seeds) [sampling_steps=1]"]


def test_of_several_seeds_the_mean_at_each_start_state_is_tested(tmp_path):
    """At states 2 to 7 two of three seeds succeed and bc does not; elsewhere they agree."""
    (pair,) = compare(load_runs(three_seeds(tmp_path)), group=True).pairs
    success = pair.differences[0]
    assert success.value.value == pytest.approx(-6 * (2 / 3) / 10)
    assert success.p == pytest.approx(2 / 2**6)
    assert success.test.startswith("Wilcoxon")


def test_without_grouping_every_run_is_its_own_method(tmp_path):
    comparison = compare(load_runs(three_seeds(tmp_path)))
    assert len(comparison.methods) == 4
    assert len(comparison.pairs) == 6


@pytest.mark.parametrize("option", [{"learning_rate": 0.1}, {"policy": {"obs_horizon": 2}}, {"dataset": "other.zarr"}])
def test_runs_that_differ_in_more_than_the_seed_are_not_one_method(tmp_path, option):
    paths = [write_training(tmp_path / "a"), write_training(tmp_path / "b", seed=1, **option)]
    assert names(compare(load_runs(paths), group=True)) == ["a", "b"]


def test_how_a_run_was_evaluated_while_training_does_not_make_another_method(tmp_path):
    evaluated = {"eval_env": "line", "eval_init_state": 7, "eval_goals": "goals.zarr", "eval_goal_mask": "held_out"}
    paths = [write_training(tmp_path / "a0"), write_training(tmp_path / "a1", seed=1, **evaluated)]
    assert names(compare(load_runs(paths), group=True)) == ["a (2 seeds)"]


def test_evaluations_alone_are_grouped_by_what_their_checkpoints_say(tmp_path):
    paths = [write_evaluation(tmp_path / f"run_seed{k}", GOOD, seed=k) for k in (0, 1)]
    assert names(compare(load_runs(paths), group=True)) == ["run (2 seeds)"]


@pytest.mark.parametrize("content", [None, "empty"])
def test_a_folder_that_is_no_run_is_refused(tmp_path, content):
    if content:
        (tmp_path / "a").mkdir()
    with pytest.raises(DatasetError, match=r"a is no run: expected the output folder of `robolearn train`"):
        load_runs([tmp_path / "a"])


def test_a_run_given_twice_is_refused(tmp_path):
    folder = write_evaluation(tmp_path / "a", GOOD)
    with pytest.raises(ConfigError, match="is given twice"):
        load_runs([folder, folder / "results.json"])


@pytest.mark.parametrize("text", ["[1]\n", '{"loss": 1}\n', '{"step": 1, "loss": "low"}\n', b"\xff\xfe"], ids=str)
def test_metrics_that_are_none_are_refused_by_name(tmp_path, text):
    training = write_training(tmp_path / "a")
    (training / "metrics.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=r"metrics.jsonl does not hold the metrics of a training run"):
        load_runs([training])


def test_a_last_line_cut_off_by_a_crash_is_left_out(tmp_path):
    training = write_training(tmp_path / "a")
    with (training / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')
    assert load_runs([training])[0].curves["loss"] == ([10, 20], [1.0, 0.5])


def test_the_page_shows_every_part_and_loads_nothing(tmp_path):
    comparison = compare(load_runs(three_seeds(tmp_path)), group=True)
    html = write_comparison(comparison, tmp_path / "out" / "page.html").read_text()
    for words in ("beso (3 seeds)", "0.600 [0.200, 0.800]", "training loss (log)", "Wilcoxon", "policy_name"):
        assert words in html
    assert html.count('<polyline class="line-a c1"') == 9  # of three seeds: loss, validation loss, action error
    assert not re.search(r"<script|url\(|@import|https?://|src=", html)


def page_of(tmp_path, *paths):
    return write_comparison(compare(load_runs(paths)), tmp_path / "page.html").read_text()


def test_what_differs_tells_how_policies_were_evaluated(tmp_path):
    training = write_training(tmp_path / "a", evaluated=GOOD)
    changed = {"sampling": {"sampling_steps": 1}, "execute": 2, "first": 5, "max_steps": 30, "goals": {
        "dataset": "data/g.zarr", "checksum": "ab" * 32, "mask": "val"}}  # fmt: skip
    html = page_of(tmp_path, training, write_evaluation(tmp_path / "e", GOOD, training, **changed))
    for option, first, second in (
        ("sampling_steps", 3, 1),
        ("execute", 4, 2),
        ("start_states", "0 to 9", "5 to 14"),
        ("max_steps", 40, 30),
        ("goals", "", "g.zarr (val), abababababab"),
    ):
        assert re.search(rf"<td>evaluation.{option}</td><td[^>]*>{first}</td><td[^>]*>{re.escape(str(second))}<", html)
    assert "<td>dataset</td>" not in html


def test_nothing_differs_for_a_run_that_was_not_evaluated_and_its_twin(tmp_path):
    html = page_of(tmp_path, write_training(tmp_path / "a"), write_training(tmp_path / "b", evaluated=GOOD))
    assert "No options differ" in html


def test_results_name_the_protocol_they_come_from(tmp_path):
    paths = [write_evaluation(tmp_path / name, GOOD) for name in "ab"]
    words = "line, start states 0 to 9, 4 actions executed a prediction, at most 40 steps, scene version 1"
    comparison = compare(load_runs(paths))
    assert comparison.protocol_lines() == [words]
    assert words in write_comparison(comparison, tmp_path / "page.html").read_text()


def test_each_protocol_names_its_methods(tmp_path):
    goals = {"dataset": "data/g.zarr", "checksum": "ab" * 32, "mask": None}
    paths = [write_evaluation(tmp_path / name, GOOD) for name in "ab"]
    paths.append(write_evaluation(tmp_path / "c", [1.0], first=7, execute=1, goals=goals, options={"size": 3}))
    comparison = compare(load_runs(paths))
    assert comparison.protocol_lines() == [
        "line, start states 0 to 9, 4 actions executed a prediction, at most 40 steps, scene version 1: a, b",
        "line, start state 7, 1 action executed a prediction, at most 40 steps, goals of g.zarr, scene version 1 "
        "with {'size': 3}: c",
    ]
    first, second = comparison.to_dict()["protocols"]
    assert first["methods"] == ["a", "b"]
    assert (second["environment"], second["start_states"], second["execute"]) == ("line", (7, 7), 1)
    assert (second["max_steps"], second["goals"]["dataset"]) == (40, "g.zarr")


def test_the_page_says_at_which_step_a_run_was_evaluated(tmp_path):
    training = write_training(tmp_path / "a", evaluated=GOOD)
    assert "during training, step 20" in page_of(tmp_path, training)
    own = page_of(tmp_path, training, training / "evaluations" / "00000010")
    assert "during training, step 10" in own


def test_only_steps_are_evaluations_made_during_training(tmp_path):
    training = write_training(tmp_path / "a", evaluated=GOOD)
    write_evaluation(training / "evaluations" / "few_steps", BAD, training, sampling={"sampling_steps": 1})
    assert load_runs([training])[0].evaluation.successes == 8


def test_parameters_are_those_of_the_checkpoint(tmp_path):
    training = write_training(tmp_path / "a")
    assert load_runs([training])[0].parameters is None
    (training / "checkpoints" / "last").symlink_to("00000020")
    (training / "checkpoints" / "last" / "provenance.json").write_text('{"parameters": 5678}')
    comparison = compare(load_runs([training, write_evaluation(tmp_path / "b", GOOD)]))
    assert [m["parameters"] for m in comparison.to_dict()["methods"]] == [5678, 1234]
    assert ">5,678</td>" in write_comparison(comparison, tmp_path / "page.html").read_text()


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_a_damaged_provenance_is_refused_by_name(tmp_path, text):
    training = write_training(tmp_path / "a")
    (training / "checkpoints" / "last").symlink_to("00000020")
    (training / "checkpoints" / "last" / "provenance.json").write_text(text)
    with pytest.raises(DatasetError, match=r"provenance.json is not the provenance of a checkpoint"):
        load_runs([training])


def test_the_page_of_one_method_is_titled_by_it(tmp_path):
    html = write_comparison(compare(load_runs([write_training(tmp_path / "lonely")])), tmp_path / "p.html").read_text()
    assert "<h1>lonely</h1>" in html


def test_text_of_files_is_escaped_on_the_page(tmp_path):
    paths = [write_evaluation(tmp_path / "<b>", GOOD), write_evaluation(tmp_path / "c", BAD)]
    html = write_comparison(compare(load_runs(paths)), tmp_path / "page.html").read_text()
    assert "<b>" not in html.replace("<b></b>", "")
    assert "&lt;b&gt;" in html
    assert "robolearn eval --policy &lt;p&gt;" in html


def test_equal_scores_have_no_interval(tmp_path):
    paths = [write_evaluation(tmp_path / "a", [1.0] * 6), write_evaluation(tmp_path / "b", [1.0] * 6)]
    comparison = compare(load_runs(paths))
    html = write_comparison(comparison, tmp_path / "page.html").read_text()
    assert "1.000 (no interval: all 6 values are equal)" in html
    assert "+0.000 (no interval: all 6 values are equal)" in html
    assert "Wilson intervals" in html and "bootstrap intervals" not in html
    record = comparison.to_dict()
    assert record["methods"][0]["score"]["interval"] is None
    assert record["pairs"][0]["differences"][1]["interval"] is None


def test_the_comparison_is_json(tmp_path):
    record = json.loads(json.dumps(compare(load_runs(three_seeds(tmp_path)), group=True).to_dict()))
    assert [m["name"] for m in record["methods"]] == ["bc_seed0", "beso (3 seeds)"]
    assert record["methods"][1]["success"]["interval"] == pytest.approx([0.2, 0.8])
    assert record["pairs"][0]["differences"][0]["p"] == pytest.approx(2 / 2**6)
