"""Schedulers of diffusers by name: each samples as it should, or is refused in one line that says why."""

import math
import re
import sys

import pytest
import torch

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.policies.ddpm import NoiseSchedule
from robolearn.policies.scheduler_run import SchedulerRun
from robolearn.policies.schedulers import check_scheduler, make_scheduler

schedulers = pytest.importorskip("diffusers").schedulers

PREDICTIONS = ("epsilon", "sample", "v_prediction")
NAMES = sorted(name for name in dir(schedulers) if name.endswith("Scheduler"))
KINDS = {  # those that sample, with the predictions that they take
    **dict.fromkeys(("DDIMScheduler", "DDIMParallelScheduler", "CogVideoXDDIMScheduler"), PREDICTIONS),
    **dict.fromkeys(("DDPMScheduler", "DDPMParallelScheduler"), PREDICTIONS),
    **dict.fromkeys(("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"), PREDICTIONS),
    **dict.fromkeys(("DEISMultistepScheduler", "UniPCMultistepScheduler", "SASolverScheduler"), PREDICTIONS),
    **dict.fromkeys(("EulerDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler"), PREDICTIONS),
    "EulerAncestralDiscreteScheduler": ("epsilon", "v_prediction"),
    "KDPM2DiscreteScheduler": ("epsilon", "v_prediction"),
    "KDPM2AncestralDiscreteScheduler": ("epsilon", "v_prediction"),
    "UnCLIPScheduler": ("epsilon", "sample"),
    "PNDMScheduler": ("epsilon",),
}
SLOW = {"LMSDiscreteScheduler": 20}  # steps; it integrates its coefficients anew each time
MEAN, DEVIATION, LEVELS = 0.3, 0.2, 200


def run_of(name, prediction="epsilon", steps=10, clip=math.inf, levels=LEVELS, spacing="leading", **options):
    schedule = NoiseSchedule(levels, "squaredcos_cap_v2", prediction)
    scheduler, of_step = make_scheduler(name, options, schedule, steps, spacing, clip)
    return SchedulerRun(scheduler, schedule, clip, of_step)


def gaussian(run, prediction, levels=LEVELS):
    """The best network there can be where chunks are numbers of N(MEAN, DEVIATION^2), at the levels that it is told."""
    sigma = (1 / NoiseSchedule(levels, "squaredcos_cap_v2", prediction).alphas - 1).sqrt().log()

    def predict(x, i):
        low = min(int(run.levels[i]), levels - 2)
        noise = torch.lerp(sigma[low], sigma[low + 1], run.levels[i] - low).exp()
        signal = float((1 + noise**2) ** -0.5)
        noise = float(noise) * signal
        spread = (signal * DEVIATION) ** 2 + noise**2
        eps = noise * (x - signal * MEAN) / spread
        clean = MEAN + signal * DEVIATION**2 * (x - signal * MEAN) / spread
        return {"epsilon": eps, "sample": clean, "v_prediction": signal * eps - noise * clean}[prediction]

    return predict


def samples(run, prediction, rows=4, seed=0):
    x = torch.randn(rows, 1000, 1, generator=torch.Generator().manual_seed(seed))
    return run(gaussian(run, prediction), x, torch.Generator().manual_seed(seed + 1))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_gaussian_data_are_sampled_with_their_mean_and_deviation_or_the_scheduler_is_refused(name, prediction):
    try:
        few, many = (run_of(name, prediction, steps) for steps in (8, SLOW.get(name, 60)))
    except (ConfigError, MissingDependencyError) as error:
        told = str(error)
    else:
        told = None
    if told is not None:
        assert prediction not in KINDS.get(name, ())
        assert name in told
        assert "\n" not in told
        assert len(told) < 400
        return
    found = samples(many, prediction)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.015)
    assert float(found.std()) == pytest.approx(DEVIATION, rel=0.14)
    assert abs(found.std() - DEVIATION) < abs(samples(few, prediction).std() - DEVIATION)


def test_all_schedulers_that_sample_are_still_in_diffusers():
    assert set(KINDS) <= set(NAMES)


@pytest.mark.parametrize("name", KINDS)
def test_a_run_leaves_nothing_behind_and_its_noise_is_the_generator_s(name):
    run = run_of(name, KINDS[name][0])
    first, other, again = (samples(run, KINDS[name][0], seed=seed) for seed in (0, 5, 0))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler"])
def test_rows_of_a_batch_do_not_know_each_other(name):
    run = run_of(name)
    x = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    together = run(gaussian(run, "epsilon"), x)
    alone = torch.cat([run(gaussian(run, "epsilon"), row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DPMSolverMultistepScheduler", {"solver_order": 3, "use_karras_sigmas": True}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("UniPCMultistepScheduler", {"solver_order": 3}),
        ("DDIMScheduler", {"eta": 0.5}),
        ("DDPMScheduler", {"variance_type": "fixed_small_log"}),
        ("LMSDiscreteScheduler", {"order": 2}),
    ],
)
def test_options_reach_the_scheduler_or_its_step(name, options):
    changed, plain = (run_of(name, steps=SLOW.get(name, 50), **given) for given in (options, {}))
    found = samples(changed, "epsilon")
    assert not torch.equal(found, samples(plain, "epsilon"))
    assert (float(found.mean()), float(found.std())) == pytest.approx((MEAN, DEVIATION), rel=0.2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "DPMSolverMultistepScheduler",
            {"solver_ordr": 3},
            "Unknown option 'solver_ordr'. Did you mean 'solver_order'",
        ),
        ("DPMSolverMultistepScheduler", {"solver_order": "three"}, "solver_order: found 'three', expected a whole"),
        ("DPMSolverMultistepScheduler", {"solver_order": 10**12}, "solver_order=1000000000000, expected at most 10000"),
        (
            "DPMSolverMultistepScheduler",
            {"lambda_min_clipped": math.inf, "timestep_spacing": "trailing"},
            "leaves no noise level to sample at",
        ),
        ("DPMSolverMultistepScheduler", {"steps": 10**12}, "sampling_steps must lie in 1..200"),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": 3}, "use_karras_sigmas: found 3, expected bool"),
        ("DPMSolverMultistepScheduler", {"solver_type": "hun"}, "Unknown value 'hun'. Did you mean 'heun'"),
        ("DPMSolverMultistepScheduler", {"beta_schedule": "linear"}, "cannot be given beta_schedule: it is decided by"),
        ("DPMSolverMultistepScheduler", {"prediction_type": "sample"}, "cannot be given prediction_type"),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas: it is of flow matching"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver"}, "final_sigmas_type. zero is not supported"),
        ("DDIMScheduler", {"clip_sample": False}, "cannot be given clip_sample: say it with the policy's clip"),
        ("EulerDiscreteScheduler", {"s_churn": 1.0}, "cannot be given s_churn: its steps add that noise after the"),
        ("DDPMScheduler", {"variance_type": "learned"}, "needs a network that predicts variances"),
        (
            "DDIMScheduler",
            {"timestep_spacing": "linspace"},
            "does not end its steps at the noise levels where the next",
        ),
        ("UniPCMultistepScheduler", {"solver_type": "bh1", "predict_x0": False}, "made nan in 10 network calls"),
        ("FlowMatchEulerDiscreteScheduler", {}, "it takes no beta_schedule"),
        ("EDMEulerScheduler", {}, "it takes no beta_schedule"),
        ("VQDiffusionScheduler", {}, "it takes no beta_schedule"),
        ("DPMSolverSDEScheduler", {}, "draws its noise from a seed of its own instead of the policy's generator"),
        ("LCMScheduler", {}, "distilled into consistency models"),
        ("RePaintScheduler", {}, "each of its steps needs original_image and mask"),
        ("DPMSolverMultistepInverseScheduler", {}, "goes from actions to noise"),
        ("DPMSolvrMultistepScheduler", {}, "no scheduler 'DPMSolvrMultistepScheduler'. Did you mean 'DPMSolverMulti"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(name, options, message):
    with pytest.raises(ConfigError, match=re.escape(message).replace("final_sigmas_type\\.", "final_sigmas_type.")):
        run_of(name, **options)


def test_a_prediction_that_a_scheduler_does_not_take_is_named():
    with pytest.raises(
        ConfigError, match="UnCLIPScheduler takes predictions of 'epsilon' or 'sample', found .* 'v_pred"
    ):
        run_of("UnCLIPScheduler", "v_prediction")
    with pytest.raises(ConfigError, match="KDPM2DiscreteScheduler fails at a step with predictions of 'sample'"):
        run_of("KDPM2DiscreteScheduler", "sample")


def test_a_scheduler_that_needs_another_package_names_it(monkeypatch):
    class Placeholder:
        _backends = ("torch", "a_package_that_nobody_has")

    monkeypatch.setattr(schedulers, "DDIMScheduler", Placeholder)
    with pytest.raises(MissingDependencyError, match="DDIMScheduler needs a_package.*; type: pip install a_package"):
        run_of("DDIMScheduler")


def test_without_diffusers_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependencyError, match=r"is not installed .*pip install '\.\[train\]' -c constraints"):
        run_of("DDIMScheduler")


def test_trailing_levels_are_handed_over_and_leading_leaves_the_scheduler_its_own():
    assert run_of("DPMSolverMultistepScheduler", steps=4, levels=100).levels == (99, 74, 50, 25)
    assert run_of("DPMSolverMultistepScheduler", steps=4, levels=100, spacing="trailing").levels == (99, 74, 49, 24)
    own = run_of("DPMSolverMultistepScheduler", steps=4, levels=100, spacing="trailing", timestep_spacing="leading")
    assert own.levels == (80, 60, 40, 20)


def test_names_are_told_apart_without_importing_diffusers():
    check_scheduler("ddim", {})
    check_scheduler("DPMSolverMultistepScheduler", {"solver_order": 3})
    with pytest.raises(ConfigError, match="Unknown scheduler 'ddimm'. Did you mean 'ddim'.* and diffusers' classes"):
        check_scheduler("ddimm", {})
    with pytest.raises(ConfigError, match="are of diffusers' schedulers, found 'ddim' with eta"):
        check_scheduler("ddim", {"eta": 1.0})
