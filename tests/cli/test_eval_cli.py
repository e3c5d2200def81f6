import json
import os
import shutil
import types
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gym_pusht")
pytest.importorskip("torch")

from rich.console import Console

from robolearn.cli import eval as eval_verb
from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.core.output import held_output
from robolearn.evaluation.statistics.episode import AbortedEpisode
from robolearn.evaluation.statistics.results import EvaluationResults
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import make_policy, save_policy
from robolearn.policies.diffusion import UnetConfig
from robolearn.policies.registry import POLICIES


def checkpoint(
    folder, state="observation.state", weight=None, width=2, name="bc", config=types.MappingProxyType({}), **provenance
):
    """An untrained policy for Push-T that sees the agent's position."""
    observation, action = Feature(state, (width,)), Feature("action", (2,), kind="action")
    everything = features([observation, action])
    corners = np.array([[0, 0], [512, 512]], np.float32)
    states = np.zeros((2, width), np.float32) + [[0], [512]]
    normalizer = Normalizer.fit({state: states, "action": corners}, everything)
    spec = PolicySpec(features([observation]), action, obs_horizon=1, action_horizon=4, control_hz=10.0)
    policy = make_policy(name, POLICIES.resolve(name).Config(**config), spec, normalizer)
    weights = policy.state_dict()
    if weight is not None:
        weights = {name: value * weight for name, value in weights.items()}
    save_policy(folder, name, policy, weights, {"seed": 3, "curve": [{"step": 1}], **provenance})
    return folder


def options(policy, output, *more):
    return ["--policy", str(policy), "--env", "pusht", "--num-episodes", "2", "--max-steps", "6", "--workers", "1",
            "--init-state", "100000", "--output", str(output), "--num-videos", "0", *more]  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder with a policy, `p`, and the results of two episodes, `out`; for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("evaluated")
    assert eval_verb.main(options(checkpoint(folder / "p"), folder / "out")) == 0
    return folder


@pytest.mark.slow
def test_eval_prints_the_episodes_and_both_intervals_and_saves_everything(tmp_path, capsys):
    arguments = options(checkpoint(tmp_path / "p"), tmp_path / "out", "--num-videos", "1", "--video-camera", "top")
    assert eval_verb.main(arguments) == 0
    out = capsys.readouterr().out
    assert "100000" in out
    assert "100001" in out
    assert "success 0/2 = 0.000  [0.000, 0.658]  (95 % Wilson)" in out
    assert "(95 % bootstrap)" in out
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["command"].startswith("robolearn eval --policy ")
    assert found["policy"]["provenance"]["seed"] == 3
    assert "curve" not in found["policy"]["provenance"]
    assert (found["policy"]["name"], found["policy"]["config"]["obs_horizon"]) == ("bc", 1)
    assert found["policy"]["sampling"] == {}
    seen = {"trained": [], "demonstrated": [], "unknown_episodes": 0}
    settings = {
        "seed": 0,
        "execute": 2,
        "workers": 1,
        "max_steps": 6,
        "goals": None,
        "seen_start_states": seen,
        "actions": None,
    }
    assert found["settings"] == settings
    assert (tmp_path / "out" / "videos" / "start_100000.mp4").is_file()
    assert (tmp_path / "out" / "config.yaml").is_file()


@pytest.mark.slow
def test_start_states_that_the_policy_was_trained_on_are_noted_once(tmp_path, capsys):
    seen = [{"environment": "pusht", "ranges": [[100_001, 100_009]], "unknown": 0}]
    assert eval_verb.main(options(checkpoint(tmp_path / "p", start_states=seen), tmp_path / "out")) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert notes[0].startswith("note: 1 of 2 start states (100001) occurs in the data that the policy was trained on.")
    settings = json.loads((tmp_path / "out" / "results.json").read_text())["settings"]
    assert settings["seen_start_states"]["trained"] == [100_001]


@pytest.mark.slow
def test_eval_json_is_the_results_file_and_nothing_else(tmp_path, capsys):
    assert eval_verb.main(options(checkpoint(tmp_path / "p"), tmp_path / "out", "--json")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((tmp_path / "out" / "results.json").read_text())
    assert "Replaced" not in captured.err


@pytest.mark.slow
def test_one_episode_has_no_bootstrap_interval(tmp_path, capsys):
    assert eval_verb.main(options(checkpoint(tmp_path / "p"), tmp_path / "out", "--num-episodes", "1")) == 0
    out, errors = capsys.readouterr()
    assert "success 0/1 = 0.000  [0.000, 0.793]  (95 % Wilson)" in out
    assert "(no interval: 1 value only)" in out
    assert "bootstrap" not in out
    assert "Replaced" not in errors


@pytest.mark.slow
def test_faults_and_aborted_episodes_are_shown_and_these_are_beside_the_rate(evaluated, capsys):
    results = EvaluationResults.load(evaluated / "out")
    lost = AbortedEpisode(100001, "worker died: with exit status -9 (a signal)")
    capsys.readouterr()
    faulty = replace(results.episodes[0], fault="step 8: KeyError: 'x' at p.py, line 3, in predict_chunk")
    converted = "actions are converted: (panda): pose (rot6d), gripper -> (panda): joints, gripper"
    settings = {**results.settings, "actions": converted}
    eval_verb.show(replace(results, episodes=(faulty,), aborted=(lost,), settings=settings), Console(width=60))
    out = capsys.readouterr().out
    assert f"\n{converted}\n" in out
    assert "start state 100000: policy failed: step 8: KeyError: 'x' at p.py, line 3, in predict_chunk\n" in out
    assert "start state 100001 aborted: worker died: with exit status -9 (a signal)\n" in out
    assert "success 0/1 = 0.000  [0.000, 0.793]  (95 % Wilson), 1 aborted (worker died)\n" in out


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--json",)], ids=str)
def test_replacing_results_is_said(evaluated, tmp_path, capsys, more):
    shutil.copytree(evaluated / "out", tmp_path / "out")
    arguments = options(evaluated / "p", tmp_path / "out")
    date = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]["date"]
    assert eval_verb.main([*arguments, "--num-episodes", "1", *more]) == 0
    assert f"Replaced the results of {date[:10]} {date[11:16]} UTC (2 episodes).\n" in capsys.readouterr().err


def user_sees(capfd, *arguments):
    """The one line on stderr of a command line that ends with status 2."""
    assert main(["eval", *map(str, arguments)]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line.startswith("error:") for line in lines if not line.startswith("this machine is busy")] == [True]
    return lines[-1]


@pytest.mark.slow
def test_a_policy_trained_on_another_feature_is_refused_with_both_names(tmp_path, capfd):
    line = user_sees(capfd, *options(checkpoint(tmp_path / "p", "observation.statue"), tmp_path / "out"))
    assert "needs feature 'observation.statue', which environment 'pusht' lacks" in line
    assert "The closest is 'observation.state'" in line


def test_a_policy_trained_on_another_shape_is_refused_with_both_shapes(tmp_path, capfd):
    line = user_sees(capfd, *options(checkpoint(tmp_path / "p", width=3), tmp_path / "out"))
    assert "expects feature 'observation.state' of shape (3,); environment 'pusht' gives shape (2,)" in line


@pytest.mark.slow
def test_nan_weights_are_reported_with_policy_start_state_and_step(tmp_path, capfd):
    line = user_sees(capfd, *options(checkpoint(tmp_path / "p", weight=float("nan")), tmp_path / "out"))
    assert "start state 100000, step 0: predicted a non-finite action" in line


@pytest.mark.slow
def test_with_rendering_off_videos_are_refused_and_all_else_works(tmp_path, capfd, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setenv("MUJOCO_GL", "disable")
    pose, action = Feature("observation.state", (10,)), Feature("action", (10,), kind="action")
    everything = features([pose, action])
    corners = np.zeros((2, 10), np.float32) + [[0], [1]]
    spec = PolicySpec(features([pose]), action, obs_horizon=1, action_horizon=4, control_hz=20.0)
    normalizer = Normalizer.fit(dict.fromkeys(everything, corners), everything)
    policy = make_policy("bc", POLICIES.resolve("bc").Config(), spec, normalizer)
    save_policy(tmp_path / "p", "bc", policy, policy.state_dict(), {})
    arguments = ["--policy", tmp_path / "p", "--env", "put_on_plate", "--num-episodes", "1", "--max-steps", "2"]
    line = user_sees(capfd, *arguments, "--num-videos", "1", "--output", tmp_path / "out")
    assert "start state 0: MUJOCO_GL=disable switches rendering off, but images are needed; unset it." in line
    assert main(["eval", *map(str, arguments), "--num-videos", "0", "--output", str(tmp_path / "out")]) == 0


@pytest.mark.slow
def test_an_unknown_camera_names_the_known_ones(tmp_path, capfd):
    arguments = options(checkpoint(tmp_path / "p"), tmp_path / "out", "--num-videos", "1", "--video-camera", "side")
    assert "Known: top" in user_sees(capfd, *arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--env", "push_t"), "Unknown environment 'push_t'. Did you mean 'pusht'?"),
        (("--num-episodes", "0"), "--num-episodes must be at least 1, found 0"),
        (("--execute", "9"), "--execute is 9; the policy predicts chunks of 4 actions"),
        (("--num-episodes", "many"), "--num-episodes"),
        (("--set", "steps:10"), "--set takes NAME=VALUE, found 'steps:10'"),
        (("--set", "hidden_dim=8"), "BcPolicy: Unknown sampling setting 'hidden_dim'"),
        pytest.param(
            ("--env", "robosuite/Lfit"),
            "Unknown robosuite task 'Lfit'. Did you mean 'Lift'?",
            marks=pytest.mark.skipif(find_spec("robosuite") is None, reason="robosuite is not installed"),
        ),
        (("--goals", "demos.zarr"), "takes no goals; leave out --goals"),
        (("--goal-mask", "held_out"), "--goal-mask held_out selects episodes of a dataset"),
    ],
)
def test_bad_options_are_one_line_errors_before_there_is_a_worker_or_a_folder(
    tmp_path, capfd, monkeypatch, change, words
):
    monkeypatch.setattr("multiprocessing.get_context", lambda *_: pytest.fail("a worker is started"))
    assert words in user_sees(capfd, *options(checkpoint(tmp_path / "p"), tmp_path / "out"), *change)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("sampling_step=8", "BesoPolicy: Unknown sampling setting 'sampling_step'. Did you mean 'sampling_steps'?"),
        ("sampling_steps=many", "sampling.sampling_steps: found 'many', expected a whole number."),
        ("sampling_steps=0", "found 0"),
        ("sampler=ddmi", "sampling.sampler: Unknown value 'ddmi'. Did you mean 'ddim'?"),
    ],
)
def test_a_setting_of_the_sampler_is_checked_before_there_is_a_worker(tmp_path, capfd, monkeypatch, setting, words):
    monkeypatch.setattr("multiprocessing.get_context", lambda *_: pytest.fail("a worker is started"))
    assert words in user_sees(
        capfd, *options(checkpoint(tmp_path / "p", name="beso"), tmp_path / "out", "--set", setting)
    )


TINY_DIFFUSION = {
    "observations": ("observation.state",), "obs_horizon": 1, "action_horizon": 4, "unet": UnetConfig((8,), 3, 4, 8),
}  # fmt: skip


@pytest.mark.slow
def test_a_scheduler_of_diffusers_is_a_setting_of_the_sampler(tmp_path, capsys):
    pytest.importorskip("diffusers")
    policy = checkpoint(tmp_path / "p", name="diffusion", config=TINY_DIFFUSION)
    settings = ("scheduler=DPMSolverMultistepScheduler", "scheduler_options.solver_order=3", "sampling_steps=5")
    assert eval_verb.main(options(policy, tmp_path / "out", "--set", *settings)) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["policy"]["sampling"] == {
        "scheduler": "DPMSolverMultistepScheduler", "scheduler_options.solver_order": 3, "sampling_steps": 5,
    }  # fmt: skip
    assert "success 0/2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "scheduler=FlowMatchEulerDiscreteScheduler",
            "FlowMatchEulerDiscreteScheduler does not fit a diffusion policy",
        ),
        ("scheduler_options.eta=1", "scheduler_options are of diffusers' schedulers, found 'ddim' with eta"),
    ],
)
@pytest.mark.slow
def test_a_scheduler_that_does_not_fit_is_one_line(tmp_path, capfd, setting, words):
    pytest.importorskip("diffusers")
    policy = checkpoint(tmp_path / "p", name="diffusion", config=TINY_DIFFUSION)
    assert words in user_sees(capfd, *options(policy, tmp_path / "out", "--set", setting))


def test_two_evaluations_do_not_write_into_one_folder(tmp_path, capfd):
    arguments = options(checkpoint(tmp_path / "p"), tmp_path / "out")
    with held_output(tmp_path / "out"):
        line = user_sees(capfd, *arguments)
    assert line.startswith(f"error: {tmp_path}/out is being written by process {os.getpid()}; wait for it")


def test_a_link_to_nowhere_is_found_before_there_is_a_worker(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("multiprocessing.get_context", lambda *_: pytest.fail("a worker is started"))
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    line = user_sees(capfd, *options(checkpoint(tmp_path / "p"), tmp_path / "out"))
    assert f"{tmp_path}/out is a link to {tmp_path}/disk, which does not exist" in line


def test_a_missing_policy_is_a_one_line_error(tmp_path, capfd):
    assert "no policy at" in user_sees(capfd, *options(Path("/nowhere"), tmp_path)).lower()
