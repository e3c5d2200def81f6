"""Datasets and a run that were written before features had layouts mean what they meant: fixtures/before_layouts."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robolearn.cli.main import main
from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import FeatureError
from robolearn.datasets.checks import validate
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.merge import merge
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.policies.checkpoint import load_policy
from robolearn.sim import make_env
from robolearn.teleop.dataset import open_writer

FILES = Path(__file__).parent / "fixtures" / "before_layouts"
SCENES = ("put_on_plate", "avoiding", "block_push")
POSE = ActionLayout((Part("pose"), Part("gripper")))
MOVED = Part("pose", reference="target", coordinates="xy", rotation="none", frame="world")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with the files."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open(FILES / "datasets.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_they_are_read_as_what_they_were(place):
    found = {scene: Dataset(scene).features for scene in SCENES}
    assert layout_of(found["put_on_plate"]["action"]) == POSE
    assert layout_of(found["put_on_plate"]["observation.state"]) == POSE
    joints = layout_of(found["put_on_plate"]["observation.joint_position"])
    assert [part.kind for part in joints.parts] == ["joints"] and joints.size == 7
    for scene in ("avoiding", "block_push"):
        assert layout_of(found[scene]["action"]) == ActionLayout((MOVED,))
    # and so they moved: what is commanded after a step is what was commanded before it, and the action
    for scene, columns in (("avoiding", slice(0, 2)), ("block_push", slice(2, 4))):
        command, action = Dataset(scene).array("observation.state")[:, columns], Dataset(scene).array("action")
        np.testing.assert_allclose(command[1:], command[:-1] + action[:-1], atol=1e-5)


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_found_wrong_with_them(place, scene):
    assert [finding.line() for finding in validate(scene) if finding.severity == "error"] == []


def test_a_policy_that_was_trained_on_one_answers_what_it_answered(place):
    asked = json.loads((FILES / "datasets_expected.json").read_text())
    policy = load_policy(Path("run"))
    assert layout_of(policy.spec.action_feature) == POSE
    chunk = policy.predict_chunk(
        {"observation.state": np.array(asked["state"], np.float32)},
        None, np.zeros((1, 10), np.float32), torch.Generator().manual_seed(0),
    )  # fmt: skip
    np.testing.assert_allclose(chunk, asked["chunk"], rtol=0, atol=1e-4)


def test_a_run_is_resumed_and_ends_where_it_would_have(place):
    assert main(["train", "bc", "--dataset", "put_on_plate", "--output", "run", "--resume", "--json"]) == 0
    found, expected = load_file("run/checkpoints/last/model.safetensors"), load_file("whole.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("scene", SCENES)
def test_more_is_recorded_into_them_by_the_same_scene(place, scene):
    words = ["record", "--env", scene, "--operator", "scripted", "--dataset", scene]
    before = Dataset(scene)
    assert main([*words, "--num-episodes", "1", "--resume", "--json"]) == 0
    after = Dataset(scene)
    assert after.num_episodes == 2 and np.array_equal(after.array("action")[: before.num_steps], before.array("action"))
    assert layout_of(after.features["action"]) == layout_of(before.features["action"])


def other_meaning(feature):
    """The same number of elements with the same names, said to be relative."""
    parts = tuple(replace(part, reference="current") if part.kind == "pose" else part for part in POSE.parts)
    return replace(feature, layout=ActionLayout(parts))


def test_nothing_of_another_meaning_is_recorded_into_them(place):
    env = make_env("put_on_plate")
    env.action_feature = other_meaning(env.action_feature)
    with pytest.raises(FeatureError) as error:
        open_writer(Path("put_on_plate"), env, env.control_hz, {})
    env.close()
    assert str(error.value) == (
        "put_on_plate holds 'action' as pose (rot6d), this session has pose relative to the current one (base axes, "
        "rot6d); use --action pose, a new --dataset, or bring a copy of it into this layout with: robolearn dataset "
        "relabel put_on_plate"
    )


def recorded_now(path, change):
    """A dataset of the episode of `put_on_plate`, with the layouts that `change` gives its features."""
    old = Dataset("put_on_plate")
    features = {name: change(feature) for name, feature in old.features.items()}
    with DatasetWriter.create(path, features, old.fps, {}, recorded="steps") as writer:
        writer.start_episode()
        for step in range(5):
            writer.append(step / old.fps, {name: old.array(name)[step] for name in features})
        writer.commit({"success": True})
    return Dataset(path)


def with_layout(feature):
    found = layout_of(feature)
    return feature if found is None else replace(feature, layout=replace(found, robots=(("", "panda"),)))


def test_they_are_merged_with_what_means_the_same_and_says_so(place):
    new = recorded_now(place / "new", with_layout)
    plain = recorded_now(place / "plain", lambda feature: feature)
    merge([plain, new], place / "both")
    both = Dataset("both")
    assert both.num_steps == 10 and both.features["action"].layout == replace(POSE, robots=(("", "panda"),))
    assert both.features["observation.environment_state"] == plain.features["observation.environment_state"]


def test_they_are_not_merged_with_what_means_something_else(place):
    other = recorded_now(place / "other", lambda f: other_meaning(f) if f.name == "action" else with_layout(f))
    plain = recorded_now(place / "plain", lambda feature: feature)
    with pytest.raises(FeatureError) as error:
        merge([plain, other], place / "both")
    assert "Feature 'action' is pose relative to the current one (base axes, rot6d) in " in str(error.value)
    assert "other, pose (rot6d) in " in str(error.value) and "--common keeps only what is the same" in str(error.value)
    merge([plain, other], place / "both", common=True)
    assert "action" not in Dataset("both").features
