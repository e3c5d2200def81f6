"""Every policy trains on every kind of layout, of one arm and of two, and acts in it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robolearn.core.errors import ConfigError, LayoutError
from robolearn.core.rotation import rot6d_to_matrix
from robolearn.execution.anchored import anchored
from robolearn.policies.act import ActConfig
from robolearn.policies.bc import BcConfig
from robolearn.policies.bc_rnn import BcRnnConfig
from robolearn.policies.bc_transformer import BcTransformerConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.checkpoint import load_policy, load_provenance, load_spec
from robolearn.policies.diffusion import DiffusionConfig, UnetConfig
from robolearn.policies.registry import POLICIES
from robolearn.policies.vq_bet import VqBetConfig
from robolearn.training.trainer import Trainer

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets" / "loader")]
from posed_datasets import STATE, write_joints, write_poses
from world import run_config

SMALL = {
    "act": ActConfig(obs_horizon=2, action_horizon=3, latent_dim=2, embed_dim=8, feedforward_dim=8, encoder_layers=1,
                     decoder_layers=1, heads=2),
    "bc": BcConfig(obs_horizon=2, action_horizon=3, hidden_dim=8, layers=1),
    "bc_rnn": BcRnnConfig(obs_horizon=2, hidden_dim=8, layers=1, modes=2),
    "bc_transformer": BcTransformerConfig(obs_horizon=2, action_horizon=3, embed_dim=8, layers=1, heads=2, modes=2),
    "beso": BesoConfig(obs_horizon=2, action_horizon=3, embed_dim=8, layers=1, heads=2),
    "diffusion": DiffusionConfig(obs_horizon=2, action_horizon=3, sampling_steps=2, unet=UnetConfig((8, 16), 3, 4, 8)),
    "vq_bet": VqBetConfig(obs_horizon=2, action_horizon=3, embed_dim=8, layers=1, heads=2, feature_dim=8, head_dim=8,
                          codes=4, latent_dim=4, vq_hidden_dim=8),
}  # fmt: skip
LAYOUTS = ("pose", "pose.current.axis_angle", "pose.target.tool.quaternion", "calvin", "umi")
OURS = [name for name in POLICIES if POLICIES[name].startswith("robolearn.")]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posed")
    arms = {"one arm": ("",), "two arms": ("left", "right")}
    return {name: write_poses(folder / f"{len(a)}.zarr", [7, 9, 8], a).path for name, a in arms.items()}


@pytest.fixture(scope="module")
def jointed(tmp_path_factory):
    return write_joints(tmp_path_factory.mktemp("jointed") / "two.zarr", [7, 9, 8], ("left", "right")).path


def trained(dataset, output, layout, name="bc", config=None, **changes):
    steps = {"steps": 2, "batch_size": 4, "val_ratio": 0.3, "checkpoint_every": 2, **changes}
    run = run_config(dataset, output, action=layout, **steps)
    Trainer(run, name, config or SMALL[name], quiet=True).run()
    return load_policy(output)


@pytest.mark.parametrize("arms", ["one arm", "two arms"])
@pytest.mark.parametrize("name", OURS)
def test_every_policy_trains_on_every_kind_of_layout_and_acts_in_it(tmp_path, datasets, name, arms):
    # each kind of layout with one arm or with two, every one of them with each policy
    for layout in LAYOUTS if arms == "two arms" else LAYOUTS[1::3]:
        policy = trained(datasets[arms], tmp_path / layout, layout, name)
        spec = policy.spec
        assert spec.action_feature.layout.arms == (("left", "right") if arms == "two arms" else ("",))
        window = {n: np.zeros((spec.obs_horizon, *f.shape), f.dtype) for n, f in spec.observation_features.items()}
        window[STATE][:, [3, 7]] = 1.0
        if arms == "two arms":
            window[STATE][:, [13, 17]] = 1.0
        acting = anchored(policy)
        executed = np.tile(window[STATE][-1:], (1, 1)) if acting is not policy else None
        chunk = acting.predict_chunk(window, None, executed, torch.Generator().manual_seed(0))
        assert chunk.shape == (spec.action_horizon, spec.action_feature.layout.size) and np.isfinite(chunk).all()
        if acting is not policy:  # absolute poses: their rotations are rotations
            rows = rot6d_to_matrix(chunk[:, 3:9])[:, :2].reshape(-1, 6)
            np.testing.assert_allclose(chunk[:, 3:9], rows, atol=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_every_policy_trains_on_joints_and_acts_in_them(tmp_path, jointed, name):
    seen = ("observation.joint_position", STATE)
    for layout in ("joints", "joints.target", "joints.observation"):
        policy = trained(jointed, tmp_path / layout, layout, name, replace(SMALL[name], observations=seen))
        spec = policy.spec
        window = {n: np.full((spec.obs_horizon, *f.shape), 0.5, f.dtype) for n, f in spec.observation_features.items()}
        chunk = anchored(policy).predict_chunk(window, None, None, torch.Generator().manual_seed(0))
        assert chunk.shape == (spec.action_horizon, 8) and np.isfinite(chunk).all()


def test_the_policies_above_are_all_there_are():
    assert set(SMALL) == set(OURS)


def test_the_layout_is_part_of_the_spec_the_checkpoint_and_the_run(tmp_path, datasets):
    trained(datasets["one arm"], tmp_path / "run", "umi")
    spec, record = load_spec(tmp_path / "run"), load_provenance(tmp_path / "run")
    assert spec.action_feature.layout.describe() == (
        "pose relative to the newest observation (tool axes, rot6d), gripper"
    )
    assert record["training"]["action"] == "umi"
    features = json.loads((tmp_path / "run/checkpoints/last/features.json").read_text())
    assert features["action_feature"]["layout"]["parts"][0]["reference"] == "observation"


def test_a_run_goes_on_in_its_own_layout_only(tmp_path, datasets):
    whole = trained(datasets["one arm"], tmp_path / "whole", "umi", steps=4)
    trained(datasets["one arm"], tmp_path / "run", "umi")
    with pytest.raises(ConfigError, match="had --action umi, found pose.current; resume with what it began with"):
        trained(datasets["one arm"], tmp_path / "run", "pose.current", steps=4, resume=True)
    with pytest.raises(ConfigError, match="had --action umi, found None"):
        trained(datasets["one arm"], tmp_path / "run", None, steps=4, resume=True)
    resumed = trained(datasets["one arm"], tmp_path / "run", "umi", steps=4, resume=True)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key])


def test_numbers_relative_to_the_observation_are_scaled_by_all_windows_and_rotations_left_alone(tmp_path, datasets):
    config = BcConfig(obs_horizon=1, action_horizon=6, hidden_dim=8, layers=1)
    policy = trained(datasets["one arm"], tmp_path / "run", "umi", config=config, val_ratio=0.0)
    trainer = Trainer(
        run_config(datasets["one arm"], tmp_path / "other", action="umi", batch_size=24, val_ratio=0.0),
        "bc",
        config,
        True,
    )
    actions = np.concatenate([batch["action"].numpy() for batch in trainer.batches.all()])
    normalised = policy.normalizer.normalize("action", actions)
    for element in (0, 1, 2, 9):
        assert normalised[..., element].min() == pytest.approx(-1, abs=1e-4)
        assert normalised[..., element].max() == pytest.approx(1, abs=1e-4)
    assert (normalised[..., 3:9] == actions[..., 3:9]).all()
    # six steps ahead lead farther than one: the column of single steps would have been cut off
    one_step = policy.normalizer.normalize("action", actions[:, :1])
    assert (np.ptp(one_step[..., :3], axis=(0, 1)) < 1.0).all() and (np.ptp(normalised, axis=(0, 1))[:3] > 1.99).all()


def test_what_a_policy_would_have_to_see_is_said_before_it_is_trained(tmp_path, datasets):
    blind = BcConfig(("observation.environment_state",), hidden_dim=8, layers=1)
    with pytest.raises(LayoutError, match=r"where that arm is .*such as observation\.state: --policy\.observations"):
        trained(datasets["one arm"], tmp_path / "run", "umi", config=blind)
    assert not (tmp_path / "run").exists()


def test_a_policy_of_two_robots_poses_is_one_of_no_robot(tmp_path):
    paths = [write_poses(tmp_path / f"{name}.zarr", [7, 9], robots=(("", name),)).path for name in ("ur5e", "xarm7")]
    trained(tuple(paths), tmp_path / "run", None)
    spec = load_spec(tmp_path / "run" / "checkpoints" / "last")
    assert spec.action_feature.layout.robots == () == spec.observation_features[STATE].layout.robots
