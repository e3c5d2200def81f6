import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from robolearn.evaluation.pages.demo import DemoParts, write_demo_page
from robolearn.evaluation.statistics.episode import AbortedEpisode
from robolearn.evaluation.statistics.results import EvaluationResults

sys.path.append(str(Path(__file__).parents[1]))
from example_demo import write_deployment, write_evaluation, write_example

VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects text and everything a browser would load."""

    def __init__(self, path):
        super().__init__()
        self.open, self.loads, self.tags, self.words = [], [], [], []
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [v for k, v in attributes if k in ("src", "href", "poster", "data", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    parts = write_example(tmp_path_factory.mktemp("demo"))
    return parts, Page(write_demo_page(parts))


def test_the_page_loads_nothing_and_runs_nothing(demo):
    parts, page = demo
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?://", parts.output.read_text())


def test_the_headline_cards_state_the_results_with_their_intervals(demo):
    _, page = demo
    # Wilson: 48/50 -> [.865, .989], 9/10 -> [.596, .982]
    assert "Evaluation success 48/50 96 %, 95 % interval 86.5 to 98.9 %" in page.text
    assert "Real-time success 9/10 90 %, 95 % interval 59.6 to 98.2 %" in page.text
    assert "Total time 7 min 35 s" in page.text
    assert "Peak memory 2.13 GB" in page.text
    assert re.search(r"Loop lateness, p99 \d\.\d\d ms goal: at most 2 ms", page.text)


def test_demonstrations_are_shown_from_both_cameras_with_their_facts(demo):
    _, page = demo
    assert page.tags.count("img") == 4
    assert "6 episodes, 120 steps at 20 Hz (6.0 s of motion), 2 cameras" in page.text
    assert "put the bar on the plate · success · 0.9 s · cameras: front, wrist" in page.text


def test_rollout_videos_play_in_the_page(demo):
    _, page = demo
    assert page.tags.count("video") == 3
    assert sum(load.startswith("data:video/mp4;base64,") for load in page.loads) == 3


def test_curves_histogram_latencies_commands_and_versions_are_there(demo):
    _, page = demo
    assert page.tags.count("svg") == 3
    for words in ("validation loss", "p99", "round trip", "robolearn train beso", "mujoco", "dataset checksum"):
        assert words in page.text


def test_an_empty_demo_says_what_was_not_run_and_why(tmp_path):
    parts = DemoParts(tmp_path / "report.html", not_run={"deployment": "the port was taken."})
    page = Page(write_demo_page(parts))
    assert page.text.count("Not run: this part was left out.") == 3
    assert "Not run: the port was taken." in page.text
    assert "Total time – not measured" in page.text


def test_damaged_or_missing_parts_are_named_and_the_others_shown(demo, tmp_path):
    parts, _ = demo
    (tmp_path / "results.json").write_text('{"format": ')
    broken = replace(
        parts, output=tmp_path / "report.html", dataset=tmp_path / "no.zarr", training=tmp_path / "nothing",
        evaluation=tmp_path,
    )  # fmt: skip
    page = Page(write_demo_page(broken))
    assert "no.zarr" in page.text
    assert "There is no training log at" in page.text
    assert "is not readable as evaluation results" in page.text
    assert "Real-time success 9/10" in page.text


def test_a_damaged_video_or_image_costs_its_section_only(demo, tmp_path):
    parts, _ = demo
    evaluation = write_evaluation(tmp_path / "eval", num_videos=1)
    (evaluation / "videos" / "start_000000.mp4").write_bytes(b"not a video")
    page = Page(write_demo_page(replace(parts, output=tmp_path / "r.html", evaluation=evaluation)))
    assert "start_000000.mp4 cannot be read" in page.text
    assert "6 episodes, 120 steps" in page.text


def test_a_deployment_without_timing_is_shown_with_what_it_has(tmp_path):
    (tmp_path / "results.json").write_text('{"episodes": [{"success": true}]}')
    page = Page(write_demo_page(DemoParts(tmp_path / "r.html", deployment=tmp_path)))
    assert "Real-time success 1/1" in page.text
    assert "the loop recorded no lateness histogram" in page.text


def test_episodes_that_were_not_judged_are_beside_the_rates_with_their_causes(tmp_path):
    results = EvaluationResults.load(write_evaluation(tmp_path / "eval", failures=(), num_videos=0))
    lost = AbortedEpisode(2, "worker died: with exit status 9")
    replace(results, episodes=(*results.episodes[:2], results.episodes[3]), aborted=(lost,)).save(tmp_path / "eval")
    episodes = [
        {"init_state": 0, "success": True, "outcome": "success", "cause": None},
        {"init_state": 1, "success": None, "outcome": "aborted", "cause": "server gone: <lost>"},
        {"init_state": 2, "success": None, "outcome": "unjudged", "cause": None},
    ]
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "results.json").write_text(json.dumps({"episodes": episodes}))
    parts = DemoParts(tmp_path / "r.html", evaluation=tmp_path / "eval", deployment=tmp_path / "deploy")
    page = Page(write_demo_page(parts))
    assert "Evaluation success 3/3 100 %, 95 % interval 43.9 to 100.0 %; 1 aborted (worker died)" in page.text
    assert "Real-time success 1/1" in page.text
    assert "Not in the success rate: 1 aborted (server gone), 1 unjudged." in page.text
    assert "server gone: <lost>" in page.text
    assert "worker died: with exit status 9" in page.text


def test_a_deployment_of_which_nothing_was_judged_has_no_rate(tmp_path):
    episodes = [{"init_state": 0, "success": None, "outcome": "aborted", "cause": "device failed: off"}]
    (tmp_path / "results.json").write_text(json.dumps({"episodes": episodes}))
    page = Page(write_demo_page(DemoParts(tmp_path / "r.html", deployment=tmp_path)))
    assert "Real-time success – none judged: 1 aborted (device failed)" in page.text


def test_a_missed_goal_is_marked(tmp_path):
    write_evaluation(tmp_path / "eval", failures=tuple(range(6)), num_videos=0)
    write_deployment(tmp_path / "deploy", failures=(1, 2, 3))
    parts = DemoParts(tmp_path / "r.html", evaluation=tmp_path / "eval", deployment=tmp_path / "deploy", total_s=601.0)
    html = write_demo_page(parts).read_text()
    for label in ("Evaluation success", "Real-time success", "Total time"):
        assert f'<div class="card bad"><span>{label}' in html
    assert '<div class="card good"><span>Loop lateness' in html
