"""Noise schedules and sampling tables, step by step against diffusers and against closed forms."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError
from robolearn.policies.ddpm import NoiseSchedule, alphas_bar, sampling_steps, sampling_table, table_from_diffusers

PREDICTIONS = ["epsilon", "sample", "v_prediction"]
SCHEDULES = ["squaredcos_cap_v2", "linear", "scaled_linear"]


def network(x, level):
    """Any function of the noisy chunk and the level will do."""
    return torch.tanh(1.3 * x + 0.01 * level)


def diffusers_scheduler(kind, prediction, steps, **options):
    fixed = {"clip_sample": True, "prediction_type": prediction, "beta_schedule": "squaredcos_cap_v2"}
    scheduler = kind(num_train_timesteps=100, **{**fixed, **options})
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("betas", SCHEDULES)
def test_noise_levels_are_those_of_diffusers(betas):
    expected = DDPMScheduler(num_train_timesteps=100, beta_schedule=betas).alphas_cumprod
    torch.testing.assert_close(alphas_bar(100, betas).float(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 16, 50, 100])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("name", "kind"), [("ddim", DDIMScheduler), ("ddpm", DDPMScheduler)])
def test_every_step_is_that_of_diffusers(name, kind, prediction, steps):
    theirs = diffusers_scheduler(kind, prediction, steps)
    table = NoiseSchedule(100, "squaredcos_cap_v2", prediction).table(steps, name, "leading", clip=1.0)
    assert list(table.levels) == theirs.timesteps.tolist()
    x = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0))
    for level, step in zip(table.levels, table.steps, strict=True):
        answer, noise = network(x, level), torch.Generator().manual_seed(level)
        expected = theirs.step(answer, level, x, generator=noise).prev_sample
        noise.manual_seed(level)
        torch.testing.assert_close(step(x, answer, noise), expected, rtol=1e-5, atol=2e-6)
        x = expected


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 100])
def test_trailing_levels_are_those_of_diffusers_where_they_divide(steps):
    theirs = diffusers_scheduler(DDIMScheduler, "sample", steps, timestep_spacing="trailing")
    table = NoiseSchedule(100, "squaredcos_cap_v2", "sample").table(steps, "ddim", "trailing", clip=1.0)
    x = expected = torch.randn(3, 8, 2)
    for level in theirs.timesteps.tolist():
        expected = theirs.step(network(expected, level), level, expected).prev_sample
    torch.testing.assert_close(table(lambda x, i: network(x, table.levels[i]), x), expected, rtol=1e-5, atol=2e-6)


@given(k=st.integers(1, 300), data=st.data(), spacing=st.sampled_from(["leading", "trailing"]))
def test_levels_fall_strictly_within_those_trained_on(k, data, spacing):
    levels = sampling_steps(k, data.draw(st.integers(1, k)), spacing)
    assert all(now > then for now, then in zip(levels[:-1], levels[1:], strict=True))
    assert levels[-1] >= 0 and levels[0] < k
    assert levels[-1] == 0 if spacing == "leading" else levels[0] == k - 1


@pytest.mark.parametrize("steps", [0, 101])
def test_more_steps_than_were_trained_on_are_refused(steps):
    with pytest.raises(ConfigError, match=f"must lie in 1..100 .* found {steps}"):
        sampling_steps(100, steps, "leading")


@given(level=st.integers(0, 99), prediction=st.sampled_from(PREDICTIONS), betas=st.sampled_from(SCHEDULES))
@settings(max_examples=50)
def test_a_perfect_prediction_gives_back_the_clean_chunk(level, prediction, betas):
    schedule = NoiseSchedule(100, betas, prediction).double()
    generator = torch.Generator().manual_seed(level)
    x, eps = torch.randn(2, 1, 4, 3, dtype=torch.float64, generator=generator)
    k = torch.tensor([level])
    noisy, target = schedule.add_noise(x, eps, k), schedule.target(x, eps, k)
    # one DDIM step straight to the end leaves the estimate of the clean chunk
    end = sampling_table(schedule.alphas, [level], "ddim", prediction, math.inf).steps[0]
    torch.testing.assert_close(end(noisy, target, None), x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("scheduler", ["ddim", "ddpm"])
def test_gaussian_data_are_sampled_with_their_mean_and_deviation(scheduler, prediction):
    """Of N(m, s^2) the best prediction is known and linear, so that a whole run is x -> a x + b plus noise."""
    mean, deviation = 0.3, 0.2
    schedule = NoiseSchedule(200, "squaredcos_cap_v2", prediction)
    table = schedule.table(200, scheduler, "leading", clip=math.inf)
    expected, variance = 0.0, 1.0
    for level, step in zip(table.levels, table.steps, strict=True):
        bar = float(schedule.alphas[level])
        spread = bar * deviation**2 + 1 - bar

        def answer(x, bar=bar, spread=spread):
            eps = math.sqrt(1 - bar) * (x - math.sqrt(bar) * mean) / spread
            clean = mean + math.sqrt(bar) * deviation**2 * (x - math.sqrt(bar) * mean) / spread
            mixed = math.sqrt(bar) * eps - math.sqrt(1 - bar) * clean
            return {"epsilon": eps, "sample": clean, "v_prediction": mixed}[prediction]

        def mapped(x, step=step, answer=answer):
            return step.p * (step.a * x + step.b * answer(x)) + step.c * x + step.d * answer(x)

        slope = mapped(1.0) - mapped(0.0)
        expected, variance = mapped(expected), slope**2 * variance + step.s**2
    assert expected == pytest.approx(mean, abs=0.01)
    assert math.sqrt(variance) == pytest.approx(deviation, rel=0.06)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("name", "kind"), [("ddim", DDIMScheduler), ("ddpm", DDPMScheduler)])
def test_a_scheduler_handed_over_gives_its_own_table(name, kind, clip):
    theirs = diffusers_scheduler(kind, "epsilon", 20, clip_sample=clip)
    schedule = NoiseSchedule(100, "squaredcos_cap_v2", "epsilon")
    ours = schedule.table(20, name, "leading", 1.0 if clip else math.inf)
    found = table_from_diffusers(theirs)
    assert found.levels == ours.levels
    x = torch.randn(1, 4, 2)
    runs = [
        table(lambda x, i: network(x, ours.levels[i]), x, torch.Generator().manual_seed(0)) for table in (found, ours)
    ]
    torch.testing.assert_close(*runs, rtol=1e-4, atol=1e-4)


def test_a_ddim_scheduler_that_ends_at_the_first_level_is_read_as_such():
    theirs = diffusers_scheduler(DDIMScheduler, "epsilon", 10, set_alpha_to_one=False)
    x, answer = torch.randn(2, 1, 4, 2)
    expected = theirs.step(answer, 0, x).prev_sample
    torch.testing.assert_close(table_from_diffusers(theirs).steps[-1](x, answer, None), expected)


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        (10, {"timestep_spacing": "linspace"}),
        (7, {"timestep_spacing": "trailing"}),
        (10, {"steps_offset": 10}),
    ],
    ids=str,
)
def test_a_ddim_scheduler_whose_steps_do_not_end_where_the_next_one_begins_is_refused(steps, options):
    with pytest.raises(ConfigError, match=f"expected levels {100 // steps} apart"):
        table_from_diffusers(diffusers_scheduler(DDIMScheduler, "epsilon", steps, **options))


@pytest.mark.parametrize(
    ("kind", "steps", "options"),
    [
        (DDPMScheduler, 7, {"timestep_spacing": "linspace"}),
        (DDPMScheduler, 7, {"timestep_spacing": "trailing"}),
        (DDIMScheduler, 10, {"timestep_spacing": "trailing"}),
        (DDIMScheduler, 16, {"steps_offset": 1}),
    ],
)
def test_other_spacings_that_the_table_holds_are_those_of_diffusers(kind, steps, options):
    theirs = diffusers_scheduler(kind, "epsilon", steps, **options)
    table = table_from_diffusers(theirs)
    x = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0))
    for level, step in zip(table.levels, table.steps, strict=True):
        answer, noise = network(x, level), torch.Generator().manual_seed(level)
        expected = theirs.step(answer, level, x, generator=noise).prev_sample
        noise.manual_seed(level)
        torch.testing.assert_close(step(x, answer, noise), expected, rtol=1e-5, atol=2e-5)
        x = expected


def test_schedulers_the_table_cannot_hold_are_refused():
    with pytest.raises(ConfigError, match="rescale_betas_zero_snr"):
        table_from_diffusers(diffusers_scheduler(DDIMScheduler, "epsilon", 10, rescale_betas_zero_snr=True))
    with pytest.raises(ConfigError, match="found DPMSolverMultistepScheduler"):
        table_from_diffusers(DPMSolverMultistepScheduler())
    with pytest.raises(ConfigError, match="expected variance_type fixed_small"):
        table_from_diffusers(diffusers_scheduler(DDPMScheduler, "epsilon", 10, variance_type="fixed_large"))
