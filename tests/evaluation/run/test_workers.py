import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from robolearn.core.errors import FeatureError, MissingDependencyError, RobolearnError
from robolearn.core.failure import UnexpectedError
from robolearn.core.feature import Feature, features
from robolearn.evaluation.run.environment import image_options
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.run.workers import RolloutJob, run_episodes
from robolearn.evaluation.statistics.episode import AbortedEpisode, EpisodeResult
from robolearn.execution.policy_spec import PolicySpec

pytestmark = pytest.mark.slow  # every test starts worker processes, which import torch

HERE = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


def job(**policy):
    return RolloutJob(PolicySource(factory="tiny_world:make_policy", options=policy), "tiny_line")


def test_results_do_not_depend_on_the_number_of_workers():
    init_states = [7, 0, 3, 12, 5, 1]
    one, report = run_episodes(job(noise=0.08), init_states, workers=1)
    two, _ = run_episodes(job(noise=0.08), init_states, workers=2)
    assert [e.init_state for e in one] == init_states
    assert one == two  # bit for bit, timing aside
    assert len({e.final_score for e in one}) > 1  # there was something to differ in
    assert (report.execute, report.scene_version, report.max_steps) == (2, "1", 40)


def test_every_episode_is_reported_as_it_ends():
    seen = []
    run_episodes(job(), [0, 1, 2], workers=2, on_episode=lambda e: seen.append(e.init_state))
    assert sorted(seen) == [0, 1, 2]


def causes(found):
    """start state -> cause of the aborted ones, and the start states of the judged ones."""
    return (
        {e.init_state: e.cause for e in found if isinstance(e, AbortedEpisode)},
        [e.init_state for e in found if isinstance(e, EpisodeResult)],
    )


def test_an_episode_that_cannot_go_on_is_aborted_with_its_cause_and_the_others_are_run():
    seen = []
    stuck = replace(job(fault="nan", fault_at=4), env_options={"jams_at": 2})
    found, _ = run_episodes(stuck, [0, 2, 4, 1], workers=1, on_episode=seen.append)
    aborted, judged = causes(found)
    assert judged == [0, 1]
    assert aborted[2].startswith("environment failed: RuntimeError: the gripper is stuck at ")
    assert re.match(r"policy failed: policy 'tiny_world:make_policy', start state 4, step 0: .*non-finite", aborted[4])
    assert [e.init_state for e in seen] == [0, 2, 4, 1]


def test_a_worker_that_dies_costs_its_episode_and_is_replaced():
    aborted, judged = causes(run_episodes(job(fault="die", fault_at=3), [0, 3, 1], workers=1)[0])
    assert judged == [0, 1]
    assert aborted == {3: "worker died: exit status 9"}


def test_when_no_worker_can_be_started_again_what_was_found_is_kept(tmp_path):
    source = PolicySource(factory="tiny_world:make_once", options={"marker": str(tmp_path / "made")})
    aborted, judged = causes(run_episodes(RolloutJob(source, "tiny_line"), [0, 1, 2], workers=1)[0])
    assert judged == [0]
    assert aborted[1].startswith("worker died: exit status 9")
    assert aborted[2].startswith("worker died: none could be started again; ")
    assert str(tmp_path / "made") in aborted[2]


def test_when_no_episode_was_judged_the_first_error_is_raised(tmp_path):
    source = PolicySource(factory="tiny_world:make_once", options={"marker": str(tmp_path / "made")})
    with pytest.raises(RobolearnError, match=r"worker died at start state 1 \(exit status 9\)"):
        run_episodes(RolloutJob(source, "tiny_line"), [1, 2, 3, 4], workers=1)


def test_when_the_first_three_start_states_are_aborted_the_error_of_the_first_is_raised():
    with pytest.raises(FeatureError, match=r"^policy 'tiny_world:make_policy', start state 5, step 0: .*non-finite"):
        run_episodes(job(fault="nan", fault_at=3), [5, 3, 4, 0], workers=1)


def test_an_exception_in_a_users_policy_becomes_one_line_with_its_place_and_keeps_its_traceback():
    told = r"^start state 2: KeyError: 'no such layer' at .*/tiny_world.py, line \d+, in predict_chunk\. --debug shows"
    with pytest.raises(UnexpectedError, match=told) as caught:
        run_episodes(job(fault="bug", fault_at=2), [2], workers=1)
    assert not caught.value.ours
    assert "in run_episode" in caught.value.details and "in predict_chunk" in caught.value.details


def test_an_exception_that_looks_like_a_lost_parent_is_told_too():
    with pytest.raises(UnexpectedError, match=r"^start state 0: EOFError: the log ended at .*/tiny_world.py"):
        run_episodes(job(fault="eof"), [0], workers=1)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("tiny_world:killed", r"at loading \(killed by SIGKILL, often .*full memory: use fewer --workers\)\.$"),
        ("os:abort", r"at loading \(killed by SIGABRT\)\.$"),
    ],
)
def test_a_worker_that_is_killed_names_the_signal_and_blames_memory_for_one_alone(factory, message):
    with pytest.raises(RobolearnError, match=message):
        run_episodes(RolloutJob(PolicySource(factory=factory), "tiny_line"), [0], workers=1)


def test_a_policy_that_cannot_be_loaded_is_an_error_before_any_episode():
    with pytest.raises(RobolearnError, match=r"factory 'tiny_world:nothing' cannot be imported"):
        run_episodes(RolloutJob(PolicySource(factory="tiny_world:nothing"), "tiny_line"), [0], workers=1)


def test_the_environment_is_asked_for_the_cameras_the_policy_looks_through():
    images = [Feature(f"observation.images.{c}", (84, 84, 3), "uint8", "image") for c in ("front", "wrist")]
    action = Feature("action", (2,), kind="action")
    state = Feature("observation.state", (2,))
    assert image_options(PolicySpec(features([state, *images]), action, 1, 4, 10.0)) == {
        "cameras": ("front", "wrist"), "image_size": 84,
    }  # fmt: skip
    assert image_options(PolicySpec(features([state]), action, 1, 4, 10.0)) == {}
    labels = Feature("observation.segmentation.front", (84, 84, 1), "uint8", "image")
    assert image_options(PolicySpec(features([images[1], labels]), action, 1, 4, 10.0)) == {
        "cameras": ("wrist",), "segmentation": ("front",), "image_size": 84,
    }  # fmt: skip


def test_missing_rendering_is_explained_with_the_way_around_it(tmp_path):
    blind = replace(job(), env_options={"can_render": False}, videos=frozenset({0}), video_folder=tmp_path)
    with pytest.raises(
        MissingDependencyError, match="^start state 0: Nothing can render.*without videos: --num-videos 0"
    ):
        run_episodes(blind, [0], workers=1)
    assert list(tmp_path.iterdir()) == []


PARENT = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from robolearn.evaluation.run.source import PolicySource
from robolearn.evaluation.run.workers import RolloutJob, run_episodes
if __name__ == "__main__":
    source = PolicySource(factory="tiny_world:make_policy", options=dict(fault="hang", fault_at=1))
    try:
        run_episodes(RolloutJob(source, "tiny_line"), [0, 1, 1], 2, lambda e: print("ready", flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_worker_outlives_an_interrupted_or_killed_parent(tmp_path, number, status):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout.readline() == "ready\n"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) >= 2
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)  # as a terminal does: to the workers as well
    else:
        parent.kill()
    assert parent.wait(30) == status
    assert "Traceback" not in parent.stderr.read()
    deadline = time.monotonic() + 10
    while (alive := [c for c in children if _running(c)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []


def _running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
