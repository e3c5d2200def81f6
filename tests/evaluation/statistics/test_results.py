import json
from dataclasses import replace
from pathlib import Path

import pytest

from robolearn.core.errors import CheckpointError, ConfigError, DatasetError
from robolearn.evaluation.run.evaluate import EvaluationConfig, default_output, evaluate
from robolearn.evaluation.run.rollout import RolloutConfig
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.run.video import VideoConfig
from robolearn.evaluation.statistics.episode import AbortedEpisode
from robolearn.evaluation.statistics.results import EvaluationResults

HERE = Path(__file__).parents[1]
SOURCE = PolicySource(factory="tiny_world:make_policy")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        config = EvaluationConfig(
            "tiny_line", 4, init_state=2, rollout=RolloutConfig(max_steps=14), workers=1, num_videos=2,
            video=VideoConfig(width=64, height=48, hold_s=0.1),
        )  # fmt: skip
        return evaluate(SOURCE, config, folder, command="robolearn eval ..."), folder


@pytest.mark.slow
def test_results_count_successes_with_the_wilson_interval(evaluated):
    results, _ = evaluated
    # start states 2 to 5 need 12 to 15 steps, and 14 are allowed
    assert [e.success for e in results.episodes] == [True, True, True, False]
    assert results.successes == 3
    assert (results.success.value, results.success.n) == (0.75, 4)
    assert results.score.value == pytest.approx((3 + 0.9) / 4, abs=1e-6)


def test_the_file_holds_everything_needed_to_repeat_and_to_check(evaluated):
    results, folder = evaluated
    found = json.loads((folder / "results.json").read_text())
    assert found["success"]["k"] == 3
    assert found["success"]["interval"] == [results.success.low, results.success.high]
    assert found["init_states"] == [2, 3, 4, 5]
    seen = {"trained": [], "demonstrated": [], "unknown_episodes": 0}
    settings = {"seed": 0, "execute": 2, "workers": 1, "max_steps": 14, "goals": None, "seen_start_states": seen}
    assert found["settings"] == settings | {"actions": None}
    assert found["environment"]["name"] == "tiny_line"
    assert found["environment"]["scene_version"] == "1"
    assert found["environment"]["robots"] == {"rod": "tiny-1"}
    assert found["policy"]["source"] == "tiny_world:make_policy"
    assert found["policy"]["spec"]["action_horizon"] == 4
    assert {"versions", "machine", "date", "git_revision"} <= set(found["provenance"])
    assert [e["steps"] for e in found["episodes"]] == [12, 13, 14, 14]


def test_the_first_start_states_are_filmed_whatever_their_outcome(evaluated):
    results, folder = evaluated
    assert [e.video for e in results.episodes] == ["videos/start_000002.mp4", "videos/start_000003.mp4", None, None]
    assert all((folder / e.video).stat().st_size > 500 for e in results.episodes if e.video)


def test_results_read_back_equal(evaluated):
    results, folder = evaluated
    assert EvaluationResults.load(folder).episodes == results.episodes
    assert EvaluationResults.load(folder / "results.json").success == results.success


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no evaluation results at .*robolearn eval"),
        ('{"format": ', "not readable as evaluation results"),
        ('{"format": "other"}', "has format 'other', expected 'robolearn.evaluation/1'"),
        ('{"format": "robolearn.evaluation/1"}', "is damaged: 'policy'"),
        ('{"format": "robolearn.evaluation/1", "policy": []}', "is damaged: list indices"),
        ('{"format": "robolearn.evaluation/1", "policy": {"source": "p"}, "environment": {}}', "is damaged: 'name'"),
    ],
)
def test_missing_or_damaged_results_are_one_line_errors(tmp_path, content, message):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        EvaluationResults.load(tmp_path / "results.json")


def test_results_without_episodes_are_refused(evaluated, tmp_path):
    results, _ = evaluated
    record = {**results.to_dict(), "episodes": []}
    (tmp_path / "results.json").write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=r"results.json holds no judged episodes"):
        EvaluationResults.load(tmp_path)


def test_aborted_episodes_are_in_the_file_and_in_no_figure(evaluated, tmp_path):
    results, _ = evaluated
    lost = AbortedEpisode(5, "worker died: with exit status 9")
    some = replace(results, episodes=results.episodes[:3], aborted=(lost,))
    some.save(tmp_path)
    again = EvaluationResults.load(tmp_path)
    assert (again.aborted, again.init_states) == ((lost,), [2, 3, 4, 5])
    assert (again.success.value, again.success.n, again.score.n) == (1.0, 3, 3)
    assert str(again.tally).endswith(", 1 aborted (worker died)")
    assert again.tally.exit_status == 3


def test_results_of_before_there_were_aborted_episodes_are_read(evaluated, tmp_path):
    results, _ = evaluated
    record = results.to_dict()
    del record["aborted"]
    (tmp_path / "results.json").write_text(json.dumps(record))
    assert EvaluationResults.load(tmp_path).tally == results.tally
    assert results.tally.exit_status == 0


@pytest.mark.parametrize("name", ["success", "max_score", "steps", "init_state", "wall_s"])
def test_an_edited_episode_is_named(evaluated, tmp_path, name):
    results, _ = evaluated
    record = results.to_dict()
    record["episodes"][1][name] = "edited"
    (tmp_path / "results.json").write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=rf"results.json is damaged: episode 1.{name}: found 'edited', expected"):
        EvaluationResults.load(tmp_path)


def test_an_output_that_cannot_be_made_is_found_before_the_episodes(tmp_path):
    (tmp_path / "file").touch()
    source = PolicySource(factory="nowhere:policy")  # loading it would be another error
    with pytest.raises(ConfigError, match="file is a file, expected a folder"):
        evaluate(source, EvaluationConfig("put_on_plate", num_episodes=1), tmp_path / "file")


def test_a_missing_checkpoint_is_an_error_before_workers_start(tmp_path):
    with pytest.raises(CheckpointError, match=r"No policy at .*/nowhere"):
        evaluate(PolicySource(tmp_path / "nowhere"), EvaluationConfig("tiny_line"))


def test_the_folder_of_a_training_run_is_no_output(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match="holds a training run; choose another --output"):
        evaluate(PolicySource(factory="nowhere:policy"), EvaluationConfig("tiny_line"), tmp_path)


@pytest.mark.parametrize(
    "option",
    [{"num_episodes": 0}, {"init_state": -1}, {"workers": 0}, {"num_videos": -1},
     {"rollout": RolloutConfig(max_steps=0)}],
)  # fmt: skip
def test_impossible_settings_are_refused(option):
    with pytest.raises(ConfigError, match="at least"):
        EvaluationConfig("tiny_line", **option)


@pytest.mark.slow
def test_an_evaluation_that_fails_leaves_no_empty_folder_and_keeps_older_results(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "results.json").write_text("{}")
    for folder in (tmp_path / "new", full):
        with pytest.raises(ConfigError, match="cannot be imported"):
            evaluate(PolicySource(factory="nowhere:policy"), EvaluationConfig("put_on_plate", 1, workers=1), folder)
    assert not (tmp_path / "new").exists()
    assert (full / "results.json").exists()


def test_every_sampler_has_a_folder_of_its_own():
    source = PolicySource(Path("outputs/beso"), sampling={"sampling_steps": 5, "sampler": "a/b c"})
    usual = PolicySource(Path("outputs/beso"))
    assert default_output(source, "pusht") == Path("outputs/eval/beso-pusht-sampling_steps=5-sampler=a-b-c")
    assert default_output(usual, "robosuite/Lift") == Path("outputs/eval/beso-robosuite-Lift")


def test_a_policy_source_is_a_directory_or_a_factory():
    with pytest.raises(ConfigError, match="give one of them"):
        PolicySource()
    with pytest.raises(ConfigError, match="'module:attribute'"):
        PolicySource(factory="no_colon")


def interrupted(folder: Path, stop: BaseException, after: int) -> list[tuple[int, bool]]:
    """Evaluate five start states, into which `stop` comes as a signal does; what was told of how many episodes."""
    told = []

    def on_episode(episode):
        if episode.init_state == 1 + after:
            raise stop

    config = EvaluationConfig("tiny_line", 5, init_state=2, workers=1)
    with pytest.raises(type(stop)):
        evaluate(
            SOURCE,
            config,
            folder,
            on_episode,
            on_interrupt=lambda found, kept: told.append((len(found.episodes), kept)),
        )
    return told


@pytest.mark.slow
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(129)])
def test_an_interrupted_evaluation_keeps_what_it_judged_and_says_what_is_missing(tmp_path, monkeypatch, stop):
    monkeypatch.syspath_prepend(str(HERE))
    assert interrupted(tmp_path, stop, after=2) == [(2, True)]
    results = EvaluationResults.load(tmp_path)
    assert [e.init_state for e in results.episodes] == [2, 3]
    assert [e.init_state for e in results.aborted] == [4, 5, 6]
    assert results.tally.beside == "3 aborted (interrupted)"


@pytest.mark.slow
def test_an_interrupted_evaluation_does_not_replace_results_that_judged_more(evaluated, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    results, _ = evaluated  # of four
    before = results.save(tmp_path).read_bytes()
    assert interrupted(tmp_path, KeyboardInterrupt(), after=1) == [(1, False)]
    assert (tmp_path / "results.json").read_bytes() == before
