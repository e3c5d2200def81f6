"""Schedulers of diffusers as sampling runs, beside the tables and samplers of our own."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from robolearn.core.errors import ConfigError
from robolearn.policies.ddpm import NoiseSchedule, SamplingTable
from robolearn.policies.samplers import sample
from robolearn.policies.scheduler_run import SchedulerRun, sampler_of

diffusers = pytest.importorskip("diffusers")

PREDICTIONS = ["epsilon", "sample", "v_prediction"]
FIXED = {"num_train_timesteps": 100, "beta_schedule": "squaredcos_cap_v2"}


def prepared(name, steps=10, **options):
    scheduler = getattr(diffusers, name)(**{**FIXED, **options})
    scheduler.set_timesteps(steps)
    return scheduler


def schedule_of(prediction="epsilon", betas="squaredcos_cap_v2"):
    return NoiseSchedule(100, betas, prediction)


def noise(seed=0):
    return torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(seed))


def network(run):
    """Any function of the noisy chunk and the level will do."""
    return lambda x, i: torch.tanh(1.3 * x + 0.01 * run.levels[i])


@pytest.mark.parametrize("steps", [1, 5, 16, 100])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("name", "kind"), [("ddim", "DDIMScheduler"), ("ddpm", "DDPMScheduler")])
def test_ddim_and_ddpm_through_diffusers_are_our_tables(name, kind, prediction, steps):
    run = SchedulerRun(prepared(kind, steps, prediction_type=prediction), schedule_of(prediction), clip=1.0)
    table = schedule_of(prediction).table(steps, name, "leading", clip=1.0)
    assert run.levels == table.levels
    theirs, ours = (s(network(s), noise(), torch.Generator().manual_seed(1)) for s in (run, table))
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"use_karras_sigmas": True}], ids=str)
@pytest.mark.parametrize(
    ("sampler", "kind", "extra"),
    [
        ("dpmpp_2m", "DPMSolverMultistepScheduler", {}),
        ("dpmpp_2m_sde", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("ddim", "DPMSolverMultistepScheduler", {"solver_order": 1}),
        ("euler", "EulerDiscreteScheduler", {}),
        ("heun", "HeunDiscreteScheduler", {}),
    ],
)
def test_solvers_of_both_kinds_take_the_same_steps(sampler, kind, extra, options):
    """Ours work on x + sigma eps, theirs, some of them, on its multiple of unit variance."""
    scheduler = prepared(kind, 10, prediction_type="sample", **extra, **options)
    sigmas = list(dict.fromkeys(scheduler.sigmas.tolist()))
    run = SchedulerRun(scheduler, schedule_of("sample"))
    found = run(lambda x, i: torch.tanh(1.3 * x), noise(), torch.Generator().manual_seed(1))

    def denoise(x, sigma):
        return torch.tanh(1.3 * x / math.sqrt(1 + sigma**2))

    start = noise() * math.sqrt(1 + sigmas[0] ** 2)
    torch.testing.assert_close(
        found, sample(sampler, denoise, start, sigmas, torch.Generator().manual_seed(1)), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
def test_estimates_are_clipped_where_the_scheduler_does_not_do_it(name, prediction):
    """The network knows of a clean chunk beyond the bound; what lies within is not changed at all."""
    schedule, scheduler = schedule_of(prediction), prepared(name, prediction_type=prediction)
    free, bound = SchedulerRun(scheduler, schedule), SchedulerRun(scheduler, schedule, clip=0.5)

    def perfect(answer, level):
        def predict(x, i):
            signal, noise = (float(torch.lerp(v[int(level[i])], v[math.ceil(level[i])], level[i] % 1)) for v in parts)
            eps = (x - signal * answer) / noise
            known = {
                "epsilon": eps,
                "sample": torch.full_like(x, answer),
                "v_prediction": signal * eps - noise * answer,
            }
            return known[prediction]

        return predict

    parts = schedule.signal, schedule.noise
    beyond = bound(perfect(0.8, bound.levels), noise())
    torch.testing.assert_close(beyond, torch.full_like(beyond, 0.5), rtol=0, atol=0.02)
    within = [run(perfect(0.2, run.levels), noise()) for run in (free, bound)]
    torch.testing.assert_close(*within, rtol=0, atol=1e-5)


def test_two_threads_do_not_share_the_state_of_a_run():
    run = SchedulerRun(prepared("DPMSolverMultistepScheduler", 20), schedule_of())
    alone = [run(network(run), noise(seed)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: run(network(run), noise(seed)), range(8)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_levels_are_set_once_and_not_for_every_run(monkeypatch):
    scheduler = prepared("DPMSolverMultistepScheduler")
    monkeypatch.setattr(type(scheduler), "set_timesteps", None)
    run = SchedulerRun(scheduler, schedule_of())
    assert run(network(run), noise()).isfinite().all()


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "SASolverScheduler", "DDPMScheduler"])
def test_torch_s_own_generator_is_left_alone(name):
    before = torch.get_rng_state()
    run = SchedulerRun(prepared(name), schedule_of(), clip=1.0)
    run(network(run), noise(), torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_our_tables_hold_is_sampled_by_them():
    assert isinstance(sampler_of(prepared("DDIMScheduler"), schedule_of()), SamplingTable)
    assert isinstance(sampler_of(prepared("DDIMScheduler"), schedule_of(), options={"eta": 1.0}), SchedulerRun)
    assert isinstance(sampler_of(prepared("DDPMScheduler", variance_type="fixed_large"), schedule_of()), SchedulerRun)
    assert isinstance(sampler_of(prepared("DPMSolverMultistepScheduler"), schedule_of()), SchedulerRun)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("DPMSolverMultistepScheduler", {"prediction_type": "sample"}, "expects predictions of 'sample', found"),
        ("DPMSolverMultistepScheduler", {"num_train_timesteps": 50}, "50 noise levels are not the 100 of"),
        ("DPMSolverMultistepScheduler", {"beta_schedule": "linear"}, "beta_schedule='squaredcos_cap_v2'"),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "sigma_max": 1e5}, "tells the network noise level 99"),
    ],
)
def test_a_scheduler_of_another_network_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        sampler_of(prepared(name, **options), schedule_of())


def test_a_scheduler_of_another_process_is_refused():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(10)
    with pytest.raises(ConfigError, match="expects predictions of 'no type that is known', found a policy that"):
        sampler_of(scheduler, schedule_of())


def test_ddim_whose_steps_do_not_meet_is_refused():
    with pytest.raises(ConfigError, match="expected levels 10 apart"):
        sampler_of(prepared("DDIMScheduler", timestep_spacing="linspace"), schedule_of())
