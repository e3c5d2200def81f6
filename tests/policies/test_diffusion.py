"""Diffusion Policy: what it learns, how it samples, what it refuses."""

import math
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from tiny import tiny_batch, tiny_observation, tiny_policy

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.checkpoint import load_policy, make_policy, save_policy
from robolearn.policies.ddpm import SamplingTable
from robolearn.policies.diffusion import DiffusionConfig, DiffusionPolicy, TransformerConfig, UnetConfig
from robolearn.policies.networks.vision import VisionConfig
from robolearn.policies.noise import Noise

TINY = DiffusionConfig(
    action_horizon=7,
    unet=UnetConfig(widths=(8, 16), groups=4, step_dim=8),
    transformer=TransformerConfig(16, 2, 2, 0.0),
)
GOAL = replace(TINY, goals=("observation.environment_state",))


def policy_of(config=TINY, **changes):
    torch.manual_seed(0)
    return tiny_policy("diffusion", replace(config, **changes)).eval()


@pytest.mark.parametrize("network", ["unet", "transformer"])
def test_a_chunk_begins_at_the_newest_observation_and_is_reproducible(network):
    policy = policy_of(network=network)
    chunks = [
        policy.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    ]
    assert chunks[0].shape == (7, 3) and chunks[0].dtype == np.float32
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert np.abs(chunks[0] - chunks[2]).max() > 1e-3


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_a_network_that_knows_the_answer_has_no_loss_and_samples_it(prediction):
    policy = policy_of(prediction=prediction)
    batch, schedule = tiny_batch(policy), policy.schedule
    actions = policy.actions(batch)

    def perfect(noisy, k):
        eps = (noisy - schedule.signal[k][:, None, None] * actions) / schedule.noise[k][:, None, None]
        return schedule.target(actions, eps, k)

    policy.network.forward = lambda noisy, k, *condition: perfect(noisy, k)
    policy.network.denoiser = lambda steps, *condition: lambda noisy, i: perfect(noisy, steps[i].expand(len(noisy)))
    assert float(policy.loss(batch, Noise(0))) == pytest.approx(0, abs=1e-5)
    sampled = policy.sample(policy.context(batch), torch.Generator().manual_seed(0))
    torch.testing.assert_close(sampled, policy.future(batch).clamp(-1, 1), rtol=1e-3, atol=1e-3)


def test_the_loss_is_the_squared_error_of_the_predicted_noise():
    policy = policy_of()
    batch = tiny_batch(policy)
    policy.network.forward = lambda noisy, k, *condition: torch.zeros_like(noisy)
    expected = Noise(3).normal((4, 8, 3), torch.zeros(1)).square().mean()
    torch.testing.assert_close(policy.loss(batch, Noise(3)), expected)


def test_all_noise_levels_are_trained_equally():
    policy, levels = policy_of(), []
    policy.network.forward = lambda noisy, k, *condition: levels.append(k) or torch.zeros_like(noisy)
    policy.loss(tiny_batch(policy, rows=20_000), Noise(0))
    counts = torch.bincount(levels[0], minlength=100)
    assert len(counts) == 100 and counts.min() > 120 and counts.max() < 280


@pytest.mark.parametrize("network", ["unet", "transformer"])
def test_two_processes_see_together_the_loss_of_one(network):
    policy = policy_of(GOAL, network=network)
    batch = tiny_batch(policy)
    whole = policy.loss(batch, Noise(5))
    shares = [policy.loss({k: v[rank::2] for k, v in batch.items()}, Noise(5, rank, 2)) for rank in (0, 1)]
    torch.testing.assert_close(sum(shares) / 2, whole)


@pytest.mark.parametrize("network", ["unet", "transformer"])
def test_the_goal_steers_and_its_absence_is_an_input_of_its_own(network):
    policy = policy_of(GOAL, network=network)
    torch.nn.init.normal_(policy.null_goal)

    def chunk(goal):
        given = None if goal is None else {"observation.environment_state": np.full((1, 2), goal, np.float32)}
        return policy.predict_chunk(tiny_observation(2), goal=given, generator=torch.Generator().manual_seed(0))

    chunks = [chunk(goal) for goal in (None, -1, 1)]
    assert all(np.abs(a - b).max() > 1e-6 for a, b in zip(chunks, chunks[1:] + chunks[:1], strict=True))


def test_whole_goals_are_dropped_in_the_share_of_windows_asked_for():
    policy, goals = policy_of(GOAL, goal_dropout=0.3), []
    torch.nn.init.constant_(policy.null_goal, 77.0)
    policy.network.forward = lambda noisy, k, observation, goal: goals.append(goal) or torch.zeros_like(noisy)
    policy.loss(tiny_batch(policy, rows=5000), Noise(0))
    dropped = (goals[0] == 77.0).float().mean(dim=(1, 2))
    assert set(dropped.tolist()) == {0.0, 1.0}
    assert float(dropped.mean()) == pytest.approx(0.3, abs=0.03)


def test_without_goal_dropout_there_is_no_acting_without_a_goal():
    with pytest.raises(FeatureError, match="needs a goal"):
        policy_of(GOAL, goal_dropout=0.0).predict_chunk(tiny_observation(2))


@pytest.mark.slow
def test_both_ways_of_demonstrations_are_kept():
    """Actions are all +0.5 or all -0.5 for the same observation; the mean, 0, is what nobody did."""
    unet = UnetConfig(widths=(16,), groups=4, step_dim=16)
    policy = policy_of(prediction="sample", sampling_steps=10, spacing="trailing", action_horizon=3, unet=unet)
    policy._action_scale.fill_(1.0)
    policy._action_offset.fill_(0.0)
    batch = {k: torch.zeros_like(v) for k, v in tiny_batch(policy, rows=256).items()}
    batch["action"] = (torch.arange(256) % 2 - 0.5)[:, None, None].expand(256, 4, 3)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    for step in range(120):
        optimizer.zero_grad()
        policy.loss(batch, Noise(step)).backward()
        optimizer.step()
    ends = policy.predict(batch, torch.Generator().manual_seed(0)).mean(dim=(1, 2))
    assert float((ends.abs() - 0.5).abs().mean()) < 0.1
    assert 0.2 < float((ends > 0).float().mean()) < 0.8


def test_images_are_seen_and_their_encoder_learns():
    image, action = Feature("observation.images.top", (24, 24, 3), dtype="uint8", kind="image"), Feature("action", (2,))
    rng = np.random.default_rng(0)
    normalizer = Normalizer.fit({"action": rng.normal(size=(50, 2)).astype(np.float32)}, features([action]))
    vision = VisionConfig(width=16, stages=2, keypoints=4, feature_dim=6)
    config = replace(TINY, observations=(image.name,), vision=vision)
    policy = make_policy("diffusion", config, PolicySpec(features([image]), action, 2, 7, 10.0), normalizer)
    pictures = torch.from_numpy(rng.integers(0, 255, (3, 2, 24, 24, 3), dtype=np.uint8))
    pad = torch.zeros(3, 8, dtype=torch.bool)
    batch = {image.name: pictures, "action": torch.rand(3, 8, 2), "action.is_pad": pad}
    policy.loss(batch, Noise(0)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in policy.encoder.parameters() if p.ndim > 1)
    assert policy.eval().predict_chunk({image.name: pictures[0].numpy()}).shape == (7, 2)


def test_options_of_sampling_are_options_of_the_configuration():
    assert set(DiffusionPolicy.SAMPLING) <= {field.name for field in fields(DiffusionConfig)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_horizon": 8}, "multiple of 2, found 9; change --policy.action-horizon"),
        ({"sampling_steps": 101}, "sampling_steps must lie in 1..100"),
        ({"unet": UnetConfig(widths=(8, 9))}, "multiple of its 8 groups"),
        ({"goal_dropout": 1.0}, r"goal_dropout must lie in \[0, 1\), found 1.0"),
        ({"clip": math.nan}, "clip must be positive, found nan"),
        ({"network": "unnet"}, "Unknown network 'unnet'. Did you mean 'unet'?"),
        ({"betas": "linaer"}, "Unknown betas 'linaer'. Did you mean 'linear'?"),
        ({"prediction": "eps"}, "Unknown prediction 'eps'."),
        ({"scheduler": "ddimm"}, "Unknown scheduler 'ddimm'. Did you mean 'ddim'?"),
        ({"scheduler": "DPMSolver"}, "Unknown scheduler 'DPMSolver'. Known: ddim, ddpm; and diffusers' classes"),
        ({"scheduler_options": {"eta": 1.0}}, "are of diffusers' schedulers, found 'ddim' with eta"),
        ({"scheduler": "LCMScheduler"}, "LCMScheduler does not fit a diffusion policy"),
        ({"scheduler": "PNDMScheduler", "prediction": "sample"}, "PNDMScheduler takes predictions of 'epsilon' or"),
        ({"spacing": "trail"}, "Unknown spacing 'trail'. Did you mean 'trailing'?"),
        ({"noise_steps": 0}, "noise_steps must be at least 1, found 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        policy_of(**change)


@pytest.mark.slow
def test_diffusers_is_not_imported_to_train_or_act():
    check = "import sys, robolearn.policies.diffusion; assert 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_scheduler_of_diffusers_samples_as_the_policy_itself_does():
    diffusers = pytest.importorskip("diffusers")
    policy = policy_of(scheduler="ddim", spacing="leading", sampling_steps=10)
    expected = policy.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(0))
    policy.table = None
    theirs = diffusers.DDIMScheduler(num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    theirs.set_timesteps(10)
    policy.use_scheduler(theirs)
    found = policy.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(found, expected, atol=1e-5)


SOLVER = {
    "scheduler": "DPMSolverMultistepScheduler",
    "scheduler_options": {"solver_order": 3, "use_karras_sigmas": True},
    "sampling_steps": 5,
}


def test_a_scheduler_of_diffusers_is_a_setting_that_a_checkpoint_keeps(tmp_path):
    pytest.importorskip("diffusers")
    policy = policy_of(**SOLVER)
    save_policy(tmp_path / "p", "diffusion", policy, policy.state_dict(), {})
    loaded = load_policy(tmp_path / "p")
    plain = load_policy(tmp_path / "p", sampling={"scheduler_options": {}})

    def chunk(of, seed=0):
        return of.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(seed))

    assert loaded.config == policy.config
    np.testing.assert_array_equal(chunk(loaded), chunk(policy))
    np.testing.assert_array_equal(chunk(loaded), chunk(loaded))
    assert np.abs(chunk(loaded) - chunk(loaded, seed=1)).max() > 1e-3
    assert np.abs(chunk(loaded) - chunk(plain)).max() > 1e-3


@pytest.mark.parametrize(("name", "kind"), [("ddim", "DDIMScheduler"), ("ddpm", "DDPMScheduler")])
def test_ddim_and_ddpm_by_the_names_of_diffusers_are_our_own(name, kind):
    pytest.importorskip("diffusers")
    ours, theirs = policy_of(scheduler=name), policy_of(scheduler=kind)
    chunks = [p.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(0)) for p in (ours, theirs)]
    assert isinstance(theirs.table, SamplingTable)
    np.testing.assert_allclose(*chunks, atol=1e-5)


def test_the_scheduler_does_not_change_what_is_learned():
    pytest.importorskip("diffusers")
    ours, theirs = policy_of(), policy_of(**SOLVER)
    batch = tiny_batch(ours)
    assert float(ours.loss(batch, Noise(0))) == float(theirs.loss(batch, Noise(0)))


def test_a_scheduler_of_diffusers_may_be_handed_over():
    diffusers = pytest.importorskip("diffusers")
    policy = policy_of(clip=math.inf, sampling_steps=5, scheduler="UniPCMultistepScheduler")
    expected = policy.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(0))
    theirs = diffusers.UniPCMultistepScheduler(num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    theirs.set_timesteps(5)
    other = policy_of()
    other.use_scheduler(theirs)
    found = other.predict_chunk(tiny_observation(2), generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction_type": "v_prediction"}, "expects predictions of 'v_prediction', found .* 'epsilon'"),
        ({"num_train_timesteps": 50}, "50 noise levels are not the 100 of"),
        ({"beta_schedule": "linear"}, "expected num_train_timesteps=100 and beta_schedule='squaredcos_cap_v2'"),
    ],
)
def test_a_scheduler_for_another_network_is_refused(options, message):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(
        **{"num_train_timesteps": 100, "beta_schedule": "squaredcos_cap_v2", **options}
    )  # fmt: skip
    theirs.set_timesteps(10)
    policy = policy_of()
    before = policy.table
    with pytest.raises(ConfigError, match=message):
        policy.use_scheduler(theirs)
    assert policy.table is before
