import json

import numpy as np
import pytest
import torch
from tiny import tiny_observation, tiny_policy

from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.policies.beso import BesoConfig
from robolearn.policies.checkpoint import FILES, load_policy, load_provenance, save_policy

CONFIG = BesoConfig(obs_horizon=2, action_horizon=3, embed_dim=16, layers=1, heads=2)


@pytest.fixture
def saved(tmp_path):
    policy = tiny_policy("beso", CONFIG).eval()
    save_policy(tmp_path / "c", "beso", policy, policy.state_dict(), {"seed": 0})
    return policy, tmp_path / "c"


def test_a_loaded_policy_acts_like_the_saved_one(saved):
    policy, directory = saved
    loaded = load_policy(directory)
    assert loaded.config == policy.config and loaded.spec == policy.spec
    chunks = [
        p.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(0)) for p in (policy, loaded)
    ]
    assert np.array_equal(*chunks)


def test_a_training_folder_stands_for_its_last_checkpoint(saved, tmp_path):
    _, directory = saved
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last").symlink_to(directory)
    assert load_policy(tmp_path / "run").spec.action_horizon == 3


def test_checkpoints_hold_no_pickle(saved):
    for file in saved[1].iterdir():
        assert file.suffix in (".safetensors", ".json", ".yaml")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved, name):
    (saved[1] / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_policy(saved[1])


@pytest.mark.parametrize("name", ["model.safetensors", "features.json", "normalizer.safetensors"])
def test_a_damaged_file_gives_one_line(saved, name):
    path = saved[1] / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CheckpointError) as caught:
        load_policy(saved[1])
    assert "\n" not in str(caught.value)


def test_damaged_provenance_gives_one_line(saved):
    (saved[1] / "provenance.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"provenance.json cannot be read"):
        load_provenance(saved[1])


def test_no_such_folder(tmp_path):
    with pytest.raises(CheckpointError, match="No policy at"):
        load_policy(tmp_path / "nothing")


def test_an_unknown_option_in_the_configuration_is_explained(saved):
    path = saved[1] / "config.yaml"
    path.write_text(path.read_text().replace("embed_dim", "embed_dimm"))
    with pytest.raises(ConfigError, match="Did you mean 'embed_dim'"):
        load_policy(saved[1])


def test_weights_of_another_shape_are_refused(saved):
    path = saved[1] / "features.json"
    spec = json.loads(path.read_text())
    spec["action_horizon"] = 5
    path.write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_policy(saved[1])
