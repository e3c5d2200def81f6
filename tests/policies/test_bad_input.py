"""What a user can get wrong with a trained policy: each gives one line that says what was found and what to do."""

import hashlib
import json
import resource
import shutil
import struct

import numpy as np
import pytest
import torch
from tiny import ACTION, OBJECTS, STATE, tiny_observation, tiny_policy

from robolearn.core.errors import CheckpointError, ConfigError, FeatureError, RobolearnError
from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.bc import BcConfig
from robolearn.policies.checkpoint import FILES, load_policy, make_policy, save_policy

CONFIG = BcConfig(action_horizon=3, hidden_dim=16, layers=1)
GOAL_CONFIG = BcConfig(action_horizon=3, hidden_dim=16, layers=1, goals=(OBJECTS.name,), goal_horizon=2)


@pytest.fixture
def checkpoint(tmp_path):
    return save(tmp_path / "checkpoint", tiny_policy("bc", CONFIG))


def save(directory, policy):
    save_policy(directory, "bc", policy, policy.state_dict(), {"seed": 0})
    return directory


def seal(directory):
    """Make the recorded checksums those of the files as they are, to see what other checks say."""
    file = directory / "provenance.json"
    found = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in FILES[:-1]}
    file.write_text(json.dumps({**json.loads(file.read_text()), "checksums": found}))


def edit_json(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def refused(directory):
    """The one line that loading a bad checkpoint ends with."""
    with pytest.raises(RobolearnError) as caught:
        load_policy(directory)
    assert isinstance(caught.value, CheckpointError | ConfigError | FeatureError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES[:-1])
def test_one_flipped_bit_is_found_in_every_file(checkpoint, name):
    content = bytearray((checkpoint / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / name).write_bytes(content)
    assert f"{name} was changed after it was saved" in refused(checkpoint)


def test_weights_of_another_run_are_found(checkpoint, tmp_path):
    other = save(tmp_path / "other", tiny_policy("bc", CONFIG))
    with torch.no_grad():
        policy = tiny_policy("bc", CONFIG)
        next(policy.parameters()).add_(1)
    shutil.rmtree(other)
    shutil.copy(save(other, policy) / "model.safetensors", checkpoint)
    assert "model.safetensors was changed after it was saved" in refused(checkpoint)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"checksums": 3}', '{"checksums": {}}'])
def test_provenance_without_checksums_vouches_for_nothing(checkpoint, content):
    (checkpoint / "provenance.json").write_text(content)
    line = refused(checkpoint)
    assert "provenance.json" in line


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_file_cut_short_is_refused(checkpoint, name, keep):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(keep * len(content))])
    assert name in refused(checkpoint)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 3, 0.5])
def test_a_file_that_was_cut_short_before_it_was_sealed_is_refused_too(checkpoint, name, keep):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: keep if keep in (0, 3) else len(content) // 2])
    if name != "provenance.json":
        seal(checkpoint)
    refused(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_noise_is_refused(checkpoint, name):
    (checkpoint / name).write_bytes(np.random.default_rng(0).bytes(500))
    if name != "provenance.json":
        seal(checkpoint)
    refused(checkpoint)


@pytest.mark.parametrize("name", ["model.safetensors", "normalizer.safetensors"])
@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "O", "shape": [2], "data_offsets": [0, 8]},
    ],
    ids=["shape", "offsets", "negative", "dtype"],
)
def test_a_header_that_lies_about_sizes_takes_no_memory(checkpoint, name, entry):
    header = json.dumps({"network.0.weight": entry}).encode()
    (checkpoint / name).write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    seal(checkpoint)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(checkpoint)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_header_longer_than_the_file_takes_no_memory(checkpoint):
    (checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    seal(checkpoint)
    assert "cannot be read" in refused(checkpoint)


def test_a_feature_larger_than_the_normaliser_knows_is_refused_before_a_network_is_built(checkpoint):
    edit_json(checkpoint / "features.json", lambda spec: spec["observation_features"][0].update(shape=[10**12]))
    seal(checkpoint)
    line = refused(checkpoint)
    assert f"'{STATE.name}' has shape (4,), expected (1000000000000,)" in line


def test_a_missing_normaliser_is_named(checkpoint):
    (checkpoint / "normalizer.safetensors").unlink()
    assert "is incomplete: normalizer.safetensors missing" in refused(checkpoint)


def test_the_normaliser_of_another_policy_is_refused(checkpoint):
    Normalizer.fit({ACTION.name: np.eye(3, dtype=np.float32)}, features([ACTION])).save(
        checkpoint / "normalizer.safetensors"
    )
    seal(checkpoint)
    assert f"knows action, expected '{STATE.name}' too" in refused(checkpoint)


def test_a_normaliser_without_the_action_or_of_another_is_refused(checkpoint):
    rows = np.eye(8, dtype=np.float32)
    known = {STATE.name: rows[:, :4], OBJECTS.name: rows[:, :2]}
    for action, message in ((None, "expected 'action' too"), (Feature("action", (1,)), r"expected (3,)")):
        arrays = known if action is None else {**known, action.name: rows[:, :1]}
        normalizer = Normalizer.fit(arrays, features([STATE, OBJECTS, *([action] if action else [])]))
        normalizer.save(checkpoint / "normalizer.safetensors")
        seal(checkpoint)
        assert message in refused(checkpoint)


def test_weights_of_another_shape_are_refused(checkpoint):
    edit_json(checkpoint / "features.json", lambda spec: spec.update(action_horizon=5))
    seal(checkpoint)
    assert "cannot be read" in refused(checkpoint)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("policy: bc", "policy: bcc", "Unknown policy 'bcc'. Did you mean 'bc'?"),
        ("policy: bc", "policie: bc", "does not name a policy and its configuration"),
        ("policy: bc", "policy: [bc]", "does not name a policy and its configuration"),
        ("hidden_dim", "hidden_dimm", "Unknown option 'hidden_dimm'. Did you mean 'hidden_dim'?"),
        ("hidden_dim: 16", "hidden_dim: wide", "hidden_dim: found 'wide', expected a whole number"),
        ("hidden_dim: 16", "hidden_dim: -1", "-1"),
        ("policy: bc", "policy: !!python/object/apply:os.getcwd []", "not valid yaml"),
    ],
)
def test_a_configuration_of_another_policy_or_version_is_explained(checkpoint, old, new, message):
    file = checkpoint / "config.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    seal(checkpoint)
    assert message in refused(checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.pop("action_feature"), "the field 'action_feature' is missing; copy the whole checkpoint"),
        (lambda spec: spec["action_feature"].update(kind="torque"), "has kind 'torque'"),
        (lambda spec: spec["action_feature"].update(colour="red"), "does not describe a feature"),
        (lambda spec: spec["action_feature"].update(shape=[0]), "every axis must be at least 1"),
        (lambda spec: spec.update(obs_horizon="two"), "cannot be read"),
        (lambda spec: spec.update(action_feature=5), "does not describe a feature: expected a map"),
        (lambda spec: spec.update(obs_horizon=float("inf")), "cannot be read"),
        (lambda spec: spec.update(obs_horizon=0), "Horizons must be at least 1"),
        (lambda spec: spec.update(control_hz=float("nan")), "control_hz must be positive"),
        (lambda spec: spec.update(goal_horizon=3), "A goal needs features and a horizon"),
        (lambda spec: spec.update(observation_features=[]), "needs at least one feature"),
        (lambda spec: spec.update(observation_features=spec["observation_features"][:1] * 2), "is declared twice"),
    ],
)  # fmt: skip
def test_features_of_another_version_are_explained(checkpoint, change, message):
    edit_json(checkpoint / "features.json", change)
    seal(checkpoint)
    assert message in refused(checkpoint)


def test_an_observation_of_another_feature_set_is_refused_by_name():
    policy = tiny_policy("bc", CONFIG)
    observation = tiny_observation(1)
    observation["observation.statue"] = observation.pop(STATE.name)
    message = "needs feature 'observation.state' in its observation; it got: .*. The closest is 'observation.statue'.$"
    with pytest.raises(FeatureError, match=message):
        policy.predict_chunk(observation)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((1, 5), np.float32), r"of shape \(1, 4\) \(time first\), found \(1, 5\)"),
        (np.zeros(4, np.float32), r"of shape \(1, 4\) \(time first\), found \(4,\)"),
        (np.array([["a"] * 4]), "as numbers, found dtype <U1"),
        (np.array([[None] * 4]), "as numbers, found dtype object"),
        (np.full((1, 4), np.nan), "holds non-finite numbers"),
        (np.full((1, 4), -np.inf), "holds non-finite numbers"),
        (np.full((1, 4), 1e300), "holds non-finite numbers"),
        ([[0, 1], [2]], "as numbers, found rows of unequal length"),
    ],
)
def test_observations_that_are_no_finite_numbers_of_the_right_shape_are_refused(value, message):
    with pytest.raises(FeatureError, match=message):
        tiny_policy("bc", CONFIG).predict_chunk({**tiny_observation(1), STATE.name: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({STATE.name: np.zeros((2, 4))}, "needs feature 'observation.environment_state' in its goal; it got: "),
        ({"environment_state": np.zeros((2, 2))}, "it got: environment_state. The closest is 'environment_state'.$"),
        ({}, "in its goal; it got: nothing.$"),
        ({OBJECTS.name: np.zeros((1, 2))}, r"goal 'observation.environment_state' of shape \(2, 2\) .*found \(1, 2\)"),
        ({OBJECTS.name: np.full((2, 2), np.nan)}, "The goal 'observation.environment_state' holds non-finite numbers"),
        (None, "needs a goal .*--goals DATASET.zarr"),
    ],
)
def test_a_goal_of_the_wrong_kind_is_refused(given, message):
    with pytest.raises(FeatureError, match=message):
        tiny_policy("bc", GOAL_CONFIG).predict_chunk(tiny_observation(1), given)


def test_a_goal_for_a_policy_without_goals_is_refused():
    with pytest.raises(FeatureError, match="takes no goal, but one was given"):
        tiny_policy("bc", CONFIG).predict_chunk(tiny_observation(1), {OBJECTS.name: np.zeros((1, 2))})


def test_a_picture_where_a_vector_was_trained_on_is_refused():
    picture = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(FeatureError, match=r"found \(1, 8, 8, 3\)"):
        tiny_policy("bc", CONFIG).predict_chunk({**tiny_observation(1), STATE.name: picture})


@pytest.mark.parametrize(
    "executed",
    [
        np.zeros((1, 2)),
        np.zeros(3),
        np.zeros(()),
        np.full((1, 3), np.nan),
        np.full((1, 3), 1e300),
        [["a"] * 3],
        [[1, 2, 3], [4]],
    ],
    ids=str,
)
def test_executed_actions_that_cannot_be_are_refused(executed):
    policy = tiny_policy("bc", BcConfig(obs_horizon=2, action_horizon=3, hidden_dim=16, layers=1))
    with pytest.raises(FeatureError, match=r"executed actions (of shape \(steps, 3\) and finite|as) numbers"):
        policy.predict_chunk(tiny_observation(2), executed=executed)


def test_a_feature_that_no_policy_reads_is_refused_when_it_is_built():
    depth = Feature("observation.depth.top", (8, 8), "uint16", "depth")
    normalizer = Normalizer.fit({ACTION.name: np.eye(3, dtype=np.float32)}, features([ACTION]))
    with pytest.raises(ConfigError, match="'observation.depth.top' is of kind 'depth'"):
        make_policy("bc", CONFIG, PolicySpec(features([depth]), ACTION, 1, 3, 10.0), normalizer)


def test_features_whose_names_differ_only_in_dots_are_refused():
    pair = features([Feature("observation.state", (2,)), Feature("observation_state", (2,))])
    normalizer = Normalizer.fit(
        dict.fromkeys([*pair], np.eye(2)) | {ACTION.name: np.eye(3)}, {**pair, ACTION.name: ACTION}
    )
    with pytest.raises(ConfigError, match="'observation.state' and 'observation_state'"):
        make_policy("bc", CONFIG, PolicySpec(pair, ACTION, 1, 3, 10.0), normalizer)
