"""Demonstrations from experts that act by themselves, in a world of one dimension."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError, RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.core.registry import Registry
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.start_states import FIRST_RECORDED_STATE
from robolearn.sim import experts, make_env
from robolearn.sim.env import SimEnv
from robolearn.sim.experts import gives_actions
from robolearn.sim.experts.put_on_plate import PutOnPlateExpert
from robolearn.sim.registry import ENVIRONMENTS
from robolearn.teleop import demonstrations
from robolearn.teleop.demonstrations import record_demonstrations


class Walk(SimEnv):
    """A number that the action is added to; success at 3 and beyond, left or right."""

    name, scene_version, control_hz, max_steps, modes = "walk", "walk-1", 10.0, 20, 2

    def __init__(self, cameras: tuple[str, ...] = (), image_size: int = 8):
        images = [Feature(f"observation.images.{c}", (image_size, image_size, 3), "uint8", "image") for c in cameras]
        self._declare(features([Feature("observation.state", (1,)), *images]), Feature("action", (1,), kind="action"))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.position, self.init_state = np.zeros(1), self.init_state_of(seed, options)
        return self.observe(), self.task_info()

    def step(self, action):
        self.position = self.position + self.check_action(action)
        info = self.task_info()
        return self.observe(), 0.0, info["success"], False, info

    def observe(self):
        found = {"observation.state": self.position.astype(np.float32)}
        return {**found, **{n: self.picture(f) for n, f in self.observation_features.items() if f.kind == "image"}}

    def picture(self, feature):
        return np.full(feature.shape, int(20 * abs(self.position[0])), dtype=np.uint8)

    def task_info(self):
        done = bool(abs(self.position[0]) >= 3)
        return {"success": done, "mode": ("left" if self.position[0] < 0 else "right") if done else None, "score": 0.0}

    def sim_state(self):
        return self.position.copy()

    def set_sim_state(self, state):
        self.position = state.copy()
        return self.observe()

    def model_xml(self):
        return None

    def render_camera(self, camera, width, height):
        raise NotImplementedError


class Walker:
    """Even start states go left, odd ones right, in steps of 1; those divisible by 3 give up after two steps."""

    def start_episode(self, init_state: int) -> None:
        self.left = init_state % 2 == 0
        self.steps_left = 2 if init_state % 3 == 0 else 100

    def action(self, observation):
        self.steps_left -= 1
        return None if self.steps_left < 0 else np.array([-1.0 if self.left else 1.0])


@pytest.fixture(autouse=True)
def walk(monkeypatch):
    monkeypatch.setitem(ENVIRONMENTS._entries, "walk", f"{__name__}:Walk")
    registry = Registry("expert", {"walk": "x:y", "arm": "x:y"})
    monkeypatch.setattr(registry, "resolve", {"walk": Walker, "arm": PutOnPlateExpert}.__getitem__)
    for module in (experts, demonstrations):
        monkeypatch.setattr(module, "EXPERTS", registry)
    monkeypatch.setattr(ENVIRONMENTS, "resolve", lambda name: Walk)


def test_what_succeeds_is_kept_and_what_fails_is_counted(tmp_path):
    told = []
    summary = record_demonstrations(
        "walk", 4, tmp_path / "w.zarr", range(1, 100), progress=lambda *done: told.append(done)
    )
    # 3 gives up
    dataset = Dataset(tmp_path / "w.zarr")
    assert [record["init_state"] for record in dataset.episodes] == [1, 2, 4, 5]
    assert (summary.recorded, summary.failed, summary.steps, summary.total_episodes) == (4, 1, 12, 4)
    assert summary.modes == {"left": 2, "right": 2}
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_episode_holds_what_was_seen_before_each_action(tmp_path):
    record_demonstrations("walk", 1, tmp_path / "w.zarr", [5], task="walk on")
    dataset = Dataset(tmp_path / "w.zarr")
    assert dataset.array("observation.state").tolist() == [[0.0], [1.0], [2.0]]
    assert dataset.array("action").tolist() == [[1.0]] * 3
    assert dataset.sim_states(0).tolist() == [[0.0], [1.0], [2.0]]
    np.testing.assert_allclose(dataset.timestamps, [0.0, 0.1, 0.2])
    record = dataset.episodes[0]
    assert (record["task"], record["success"], record["mode"], record["operator"]) == (
        "walk on", True, "right", "scripted",
    )  # fmt: skip
    assert dataset.sim_env["name"] == "walk"


def test_pictures_are_stored_as_the_dataset_stores_them(tmp_path):
    record_demonstrations("walk", 1, tmp_path / "w.zarr", [5], cameras=("top",), image_size=8)
    dataset = Dataset(tmp_path / "w.zarr")
    for step in range(3):
        picture = dataset.image("observation.images.top", step).astype(int)
        np.testing.assert_allclose(picture, np.full((8, 8, 3), 20 * step), atol=1)


def test_start_states_of_evaluation_are_left_alone_and_none_comes_twice(tmp_path):
    path = tmp_path / "w.zarr"
    record_demonstrations("walk", 2, path)
    record_demonstrations("walk", 2, path, resume=True)
    states = [record["init_state"] for record in Dataset(path).episodes]
    kept = (k for k in itertools.count(FIRST_RECORDED_STATE) if k % 3)
    assert states == [next(kept) for _ in range(4)]


def test_the_same_start_states_give_the_same_dataset(tmp_path):
    for name in "ab":
        record_demonstrations("walk", 3, tmp_path / name)
    a, b = Dataset(tmp_path / "a"), Dataset(tmp_path / "b")
    own = {"journal": None, "crc32": None}  # the name that each had while it was being recorded
    assert [{**record, **own} for record in a.episodes] == [{**record, **own} for record in b.episodes]
    assert np.array_equal(a.sim_states(2), b.sim_states(2))
    assert np.array_equal(a.array("action"), b.array("action"))


def test_it_stops_between_episodes_when_asked(tmp_path):
    asked = iter([False, False, True])
    summary = record_demonstrations("walk", 9, tmp_path / "w.zarr", stop=lambda: next(asked))
    assert summary.stopped == "signal" and summary.recorded + summary.failed == 2


def test_it_ends_with_its_start_states(tmp_path):
    assert record_demonstrations("walk", 9, tmp_path / "w.zarr", [1, 2, 3]).recorded == 2


def test_an_expert_that_never_succeeds_is_an_error_that_keeps_the_rest(tmp_path):
    states = itertools.chain([1], itertools.count(3, 3))
    with pytest.raises(RobolearnError, match=r"failed 20 times in a row, last from start state 60; 1 episodes"):
        record_demonstrations("walk", 2, tmp_path / "w.zarr", states)
    assert Dataset(tmp_path / "w.zarr").num_episodes == 1


def test_only_experts_that_give_actions_are_asked(tmp_path):
    assert gives_actions("walk") and not gives_actions("arm") and not gives_actions("nowhere")
    with pytest.raises(ConfigError, match="for environment 'arm'; there are experts for walk"):
        record_demonstrations("arm", 1, tmp_path / "w.zarr")
    with pytest.raises(ConfigError, match="at least 1, found 0"):
        record_demonstrations("walk", 0, tmp_path / "w.zarr")


def test_a_path_that_is_taken_or_of_another_scene_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.zarr"
    record_demonstrations("walk", 1, path)
    with pytest.raises(DatasetError, match="exists"):
        record_demonstrations("walk", 1, path)
    monkeypatch.setattr(Walk, "scene_version", "walk-2")
    with pytest.raises(DatasetError, match="walk-1"):
        record_demonstrations("walk", 1, path, resume=True)
    record_demonstrations("walk", 1, tmp_path / "other.zarr")  # the writer was closed


def test_environments_are_found_by_their_name():
    assert isinstance(make_env("walk"), Walk)
