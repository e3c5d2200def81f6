import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from tiny import tiny_observation, tiny_policy

from robolearn.core.config import to_dict
from robolearn.core.errors import CheckpointError, ConfigError
from robolearn.policies.beso import BesoConfig
from robolearn.policies.checkpoint import (
    FILES,
    check_unchanged,
    load_declaration,
    load_policy,
    load_provenance,
    save_policy,
)
from robolearn.policies.diffusion import DiffusionConfig, UnetConfig

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


def test_provenance_lists_the_sha256_of_every_other_file(saved):
    recorded = load_provenance(saved[1])["checksums"]
    assert recorded == {n: hashlib.sha256((saved[1] / n).read_bytes()).hexdigest() for n in FILES[:-1]}


def test_a_file_beside_the_policy_is_sealed_with_it_and_not_needed_to_load_it(saved, tmp_path):
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "notes.json").write_text("{}")
    save_policy(directory, "beso", saved[0], saved[0].state_dict(), {}, sealed=("notes.json",))
    check_unchanged(directory, ("notes.json",))
    (directory / "notes.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"notes.json was changed after it was saved"):
        check_unchanged(directory, ("notes.json",))
    (directory / "notes.json").unlink()
    with pytest.raises(CheckpointError, match=r"is incomplete: notes.json missing"):
        check_unchanged(directory, ("notes.json",))
    load_policy(directory)


def test_what_was_saved_is_declared_without_building_it(saved):
    policy, directory = saved
    assert load_declaration(directory) == {"name": "beso", "config": to_dict(policy.config)}


def test_settings_of_the_sampler_can_be_changed(saved, monkeypatch):
    policy, directory = saved
    monkeypatch.setattr(type(policy), "SAMPLING", ("sampling_steps",))
    loaded = load_policy(directory, sampling={"sampling_steps": 7})
    assert loaded.config == dataclasses.replace(policy.config, sampling_steps=7)


def test_one_entry_of_a_setting_can_be_changed(tmp_path):
    config = DiffusionConfig(action_horizon=7, unet=UnetConfig(widths=(8, 16), groups=4, step_dim=8),
                             scheduler="DDIMScheduler", scheduler_options={"eta": 0.5, "steps_offset": 1})  # fmt: skip
    policy = tiny_policy("diffusion", config)
    save_policy(tmp_path / "p", "diffusion", policy, policy.state_dict(), {})
    assert load_policy(tmp_path / "p").config == config
    changed = load_policy(tmp_path / "p", sampling={"scheduler_options.eta": 1, "clip": 2})
    assert changed.config.scheduler_options == {"eta": 1, "steps_offset": 1}
    assert changed.config.clip == 2.0
    ours = load_policy(tmp_path / "p", sampling={"scheduler": "ddim", "scheduler_options": {}})
    assert ours.config.scheduler_options == {}
    with pytest.raises(ConfigError, match=r"DiffusionPolicy: clip has no entries, found 'clip.eta'; write clip=VALUE"):
        load_policy(tmp_path / "p", sampling={"clip.eta": 1})
    with pytest.raises(ConfigError, match="scheduler_options are of diffusers' schedulers, found 'ddim' with eta"):
        load_policy(tmp_path / "p", sampling={"scheduler": "ddim"})


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"embed_dim": 8}, "BesoPolicy: Unknown sampling setting 'embed_dim'"),
        ({"sampling_step": 8}, "Unknown sampling setting 'sampling_step'. Did you mean 'sampling_steps'"),
        ({"sampling_steps": "many"}, "sampling.sampling_steps: found 'many', expected a whole number"),
        ({"sampling_steps": 0}, "found 0"),
    ],
)
def test_other_settings_are_refused(saved, monkeypatch, sampling, message):
    monkeypatch.setattr(type(saved[0]), "SAMPLING", ("sampling_steps",))
    with pytest.raises(ConfigError, match=message):
        load_policy(saved[1], sampling=sampling)
