import math
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError
from robolearn.policies import samplers
from robolearn.policies.samplers import noise_levels, sample

DETERMINISTIC = [name for name, (_, eta) in samplers.SAMPLERS.items() if eta == 0]
STOCHASTIC = [name for name, (_, eta) in samplers.SAMPLERS.items() if eta > 0]


def gaussian_denoiser(mean, std):
    """The exact posterior mean for data N(mean, std^2)."""

    def denoise(x, sigma):
        return (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)

    return denoise


def counting(denoise):
    calls = []

    def counted(x, sigma):
        calls.append(sigma)
        return denoise(x, sigma)

    return counted, calls


@pytest.mark.parametrize(
    ("schedule", "sigma_min", "expected"),
    [
        ("linear", 0.05, [1, 0.525, 0.05, 0]),
        ("exponential", 0.05, [1, 0.2236, 0.05, 0]),
        ("karras", 0.05, [1, 0.2789, 0.05, 0]),
        ("linear", 0.005, [1, 0.5025, 0.005, 0]),
        ("exponential", 0.005, [1, 0.0707, 0.005, 0]),
        ("karras", 0.005, [1, 0.1384, 0.005, 0]),
    ],
)
def test_schedules_match_the_published_vectors(schedule, sigma_min, expected):
    assert np.allclose(noise_levels(schedule, 3, sigma_min, 1.0), expected, atol=5e-5)


def test_vp_from_its_own_end_points_is_the_published_schedule():
    # sigma(t)^2 = exp(19.9 t^2 / 2 + 0.1 t) - 1 for t evenly spaced from 1 to 1e-3 (Song et al. 2021)
    t = np.linspace(1, 1e-3, 7)
    expected = np.sqrt(np.expm1(19.9 * t**2 / 2 + 0.1 * t))
    assert np.allclose(noise_levels("vp", 7, expected[-1], expected[0])[:-1], expected, rtol=1e-9)


def test_cosine_levels_are_evenly_spaced_in_the_angle_whose_cosine_keeps_the_signal():
    # signal share cos(theta), noise share sin(theta): sigma = tan(theta)
    levels = noise_levels("cosine", 5, 0.05, 1.0)[:-1]
    assert np.allclose(np.diff(np.arctan(levels)), (math.atan(0.05) - math.pi / 4) / 4)


@given(
    st.sampled_from(sorted(samplers.SCHEDULES)), st.integers(1, 60), st.floats(1e-3, 0.4), st.floats(0.5, 150.0)
)  # fmt: skip
def test_levels_fall_strictly_from_the_largest_over_the_smallest_to_zero(schedule, steps, sigma_min, sigma_max):
    levels = noise_levels(schedule, steps, sigma_min, sigma_max)
    assert len(levels) == steps + 1 and levels[0] == sigma_max and levels[-1] == 0.0
    assert steps == 1 or levels[-2] == sigma_min
    assert all(after < before for before, after in pairwise(levels))


def test_the_names_offered_to_users_are_those_of_the_tables():
    assert set(get_args(samplers.SamplerName)) == set(samplers.SAMPLERS)
    assert set(get_args(samplers.ScheduleName)) == set(samplers.SCHEDULES)


def test_unknown_names_and_impossible_levels_are_refused():
    with pytest.raises(ConfigError, match=r"Unknown schedule 'kerras'\. Did you mean 'karras'\?"):
        noise_levels("kerras", 3, 0.05, 1.0)
    with pytest.raises(ConfigError, match=r"Unknown sampler 'hean'\. Did you mean 'heun'\?"):
        sample("hean", gaussian_denoiser(0.0, 1.0), torch.zeros(1, 1), [1.0, 0.0])
    with pytest.raises(ConfigError, match="found 0, 0.05 and 1.0"):
        noise_levels("linear", 0, 0.05, 1.0)
    with pytest.raises(ConfigError, match="found 3, 0.5 and 0.5"):
        noise_levels("linear", 3, 0.5, 0.5)
    with pytest.raises(ConfigError, match="found 3, 0.5 and inf"):
        noise_levels("karras", 3, 0.5, math.inf)


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_samplers_recover_a_gaussian(sampler):
    generator = torch.Generator().manual_seed(1)
    sigmas = noise_levels("exponential", 300, 1e-3, 20.0)
    start = 0.7 + math.hypot(0.3, sigmas[0]) * torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    out = sample(sampler, gaussian_denoiser(0.7, 0.3), start, sigmas, generator)
    assert float(out.mean()) == pytest.approx(0.7, abs=0.01)
    assert float(out.std()) == pytest.approx(0.3, rel=0.04)


ORDERS = {"ddim": 1, "euler": 1, "heun": 2, "dpmpp_2m": 2, "dpmpp_2s": 2}


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_halving_the_steps_divides_the_error_by_two_to_the_order(sampler):
    # data N(0, 1): the flow takes x at 20 to x sqrt((1 + 0.1^2) / (1 + 20^2)) at 0.1
    x, end = torch.tensor([[20.0]], dtype=torch.float64), 0.1
    exact = 20.0 * math.sqrt((1 + end**2) / (1 + 20.0**2))
    errors = []
    for n in (200, 400):
        sigmas = noise_levels("exponential", n + 1, end, 20.0)[:-1]
        errors.append(abs(float(sample(sampler, gaussian_denoiser(0.0, 1.0), x, sigmas)) - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[sampler], abs=0.1)


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_one_known_action_is_found_in_any_number_of_steps(sampler):
    # data is one point: D is exact, so every sampler must end on it
    start = torch.randn(64, 2, dtype=torch.float64)
    for steps in (1, 2, 5):
        out = sample(sampler, lambda x, s: torch.full_like(x, 0.25), start, noise_levels("karras", steps, 0.05, 1.0))
        assert torch.allclose(out, torch.full_like(out, 0.25), atol=1e-12)


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_added_noise_makes_up_for_the_noise_taken_out(sampler):
    # around one point the samples at level sigma must keep the standard deviation sigma, however large the steps
    generator = torch.Generator().manual_seed(0)
    start = 1.0 * torch.randn(200_000, 1, generator=generator, dtype=torch.float64)
    out = sample(sampler, lambda x, s: torch.zeros_like(x), start, [1.0, 0.6, 0.2], generator)
    assert float(out.std()) == pytest.approx(0.2, rel=0.01)
    correlation = float((out * start).mean() / (out.std() * start.std()))
    # deterministic samplers keep all of the first noise; here each step keeps s'/s of it
    assert correlation == pytest.approx(0.2, abs=0.01)


def published_euler(denoise, x, sigma, after, eta, noise, past):
    """k-diffusion's (ancestral) Euler."""
    down, up = ancestral_step(sigma, after, eta)
    return x + (x - denoise(x, sigma)) / sigma * (down - sigma) + up * noise


def published_2s(denoise, x, sigma, after, eta, noise, past):
    """DPM-Solver++(2S) with r = 1/2 (Lu et al. 2022, algorithm 1; alpha = 1), ancestral as in k-diffusion."""
    down, up = ancestral_step(sigma, after, eta)
    h = math.log(sigma / down)
    u = math.exp(-h / 2) * x - math.expm1(-h / 2) * denoise(x, sigma)
    return math.exp(-h) * x - math.expm1(-h) * denoise(u, sigma * math.exp(-h / 2)) + up * noise


def published_2m(denoise, x, sigma, after, eta, noise, past):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), for eta = 1 SDE-DPM-Solver++(2M) (section 5; alpha = 1)."""
    h, estimate = math.log(sigma / after), denoise(x, sigma)
    drift = -math.expm1(-(1 + eta) * h)
    x = after / sigma * math.exp(-eta * h) * x + drift * estimate
    if past:
        before, earlier = past[-1]
        r = math.log(before / sigma) / h
        x = x + drift / 2 * (estimate - earlier) / r
    past.append((sigma, estimate))
    return x + after * math.sqrt(-math.expm1(-2 * eta * h)) * noise


def ancestral_step(sigma, after, eta):
    up = eta * math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2)
    return math.sqrt(after**2 - up**2), up


PUBLISHED = {
    "ddim": (published_euler, 0),
    "euler": (published_euler, 0),
    "dpmpp_2m": (published_2m, 0),
    "dpmpp_2s": (published_2s, 0),
    "euler_ancestral": (published_euler, 1),
    "dpmpp_2s_ancestral": (published_2s, 1),
    "dpmpp_2m_sde": (published_2m, 1),
}


@pytest.mark.parametrize("end", [0.1, 0.0])
@pytest.mark.parametrize("sampler", sorted(samplers.SAMPLERS.keys() - {"heun"}))  # its order and calls say it all
def test_few_large_steps_on_a_gaussian_are_the_published_ones(sampler, end, monkeypatch):
    # for data N(mean, 0.5^2) every step is linear: the answer is a sum over the start, the mean and each draw of
    # noise, so with these as basis vectors it is the vector of its coefficients, which hold its mean and variance
    sigmas = [3.0, 1.2, 0.9, 0.15, end]  # steps of very different ratios
    start, mean, *noises = torch.eye(6, dtype=torch.float64)
    denoise = gaussian_denoiser(mean, 0.5)
    draws = iter(noises)
    monkeypatch.setattr(samplers, "randn", lambda shape, generator, like: next(draws))
    found = sample(sampler, denoise, start, sigmas)

    step, eta = PUBLISHED[sampler]
    expected, past = start, []
    for sigma, after, noise in zip(sigmas[:-1], sigmas[1:], noises, strict=True):
        if after == 0:
            expected = denoise(expected, sigma)
        else:
            expected = step(denoise, expected, sigma, after, eta, noise, past)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_the_generator_decides_the_noise(sampler):
    start, sigmas = torch.ones(4, 3), noise_levels("linear", 3, 0.05, 1.0)
    first, again, other = (
        sample(sampler, gaussian_denoiser(0.0, 0.5), start, sigmas, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.allclose(first, other)


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_network_calls_are_as_the_table_says(sampler):
    denoise, calls = counting(gaussian_denoiser(0.0, 0.5))
    sample(sampler, denoise, torch.ones(1, 1), noise_levels("exponential", 6, 0.05, 1.0))
    assert len(calls) == (11 if sampler in ("heun", "dpmpp_2s", "dpmpp_2s_ancestral") else 6)
    assert min(calls) >= 0.05 * (1 - 1e-9) and max(calls) <= 1.0


@given(st.sampled_from(["heun", "dpmpp_2m", "dpmpp_2s"]), st.sampled_from(sorted(samplers.SCHEDULES)))
def test_second_order_samplers_are_nearer_to_the_exact_flow_than_ddim(sampler, schedule):
    x, sigmas = torch.tensor([[1.0]], dtype=torch.float64), noise_levels(schedule, 17, 0.05, 1.0)[:-1]
    exact = math.sqrt((0.5**2 + 0.05**2) / (0.5**2 + 1))
    error = {
        name: abs(float(sample(name, gaussian_denoiser(0.0, 0.5), x, sigmas)) - exact) for name in ("ddim", sampler)
    }
    assert error[sampler] < 0.5 * error["ddim"]


def test_the_last_ddim_step_returns_the_denoised_estimate():
    x = torch.full((1, 2), 3.0)
    assert torch.equal(sample("ddim", lambda x, s: x * 0 + 0.25, x, [0.5, 0.0]), torch.full((1, 2), 0.25))
