import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robolearn.policies import edm


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
    assert np.allclose(edm.SCHEDULES[schedule](3, sigma_min, 1.0), expected, atol=5e-5)


@pytest.mark.parametrize("schedule", edm.SCHEDULES)
def test_one_level_goes_straight_to_the_estimate(schedule):
    assert edm.SCHEDULES[schedule](1, 0.05, 1.0) == [1.0, 0.0]


def test_training_noise_follows_the_truncated_log_logistic():
    sigma = edm.log_logistic_sigma(200_000, 0.5, 0.05, 1.0, torch.Generator().manual_seed(0)).numpy()
    expected = {1: 0.067, 10: 0.156, 25: 0.256, 50: 0.413, 75: 0.616, 90: 0.804, 99: 0.976}
    for percent, value in expected.items():
        assert np.percentile(sigma, percent) == pytest.approx(value, abs=0.004)
    assert sigma.min() >= 0.05 - 1e-6 and sigma.max() <= 1.0 + 1e-6


@given(st.floats(1e-3, 80.0), st.floats(0.1, 2.0))
def test_preconditioning_gives_unit_variance_inputs_and_targets(sigma, sigma_data):
    c_skip, c_out, c_in, c_noise = (
        float(c) for c in edm.precondition(torch.tensor(sigma, dtype=torch.float64), sigma_data)
    )
    assert c_in**2 * (sigma**2 + sigma_data**2) == pytest.approx(1.0)
    target_variance = ((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * sigma**2) / c_out**2
    assert target_variance == pytest.approx(1.0)
    assert c_noise == pytest.approx(math.log(sigma) / 4)


def gaussian_denoiser(mean: float, std: float) -> edm.Denoiser:
    """The exact posterior mean for data N(mean, std^2)."""

    def denoise(x, sigma):
        s2 = sigma.view(-1, *[1] * (x.ndim - 1)) ** 2
        return (std**2 * x + s2 * mean) / (std**2 + s2)

    return denoise


@pytest.mark.parametrize("sampler", edm.SAMPLERS)
def test_samplers_recover_a_gaussian(sampler):
    generator = torch.Generator().manual_seed(1)
    sigmas = edm.exponential_sigmas(300, 1e-3, 20.0)
    start = sigmas[0] * torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    out = edm.SAMPLERS[sampler](gaussian_denoiser(0.7, 0.3), start, sigmas, generator)
    assert float(out.mean()) == pytest.approx(0.7, abs=0.02)
    assert float(out.std()) == pytest.approx(0.3, rel=0.06)


def test_heun_is_nearer_to_the_exact_flow_than_ddim_at_few_steps():
    # data N(0, 1): the probability flow scales x by 1 / sqrt(1 + sigma^2)
    x = torch.tensor([[20.0]], dtype=torch.float64)
    exact = 20.0 / math.sqrt(1 + 20.0**2)
    errors = {
        name: abs(
            float(edm.SAMPLERS[name](gaussian_denoiser(0.0, 1.0), x, edm.exponential_sigmas(40, 1e-3, 20.0))) - exact
        )
        for name in ("ddim", "heun")
    }
    assert errors["heun"] < 0.3 * errors["ddim"]


def test_the_last_ddim_step_returns_the_denoised_estimate():
    x = torch.full((1, 2), 3.0)
    assert torch.equal(edm.sample_ddim(lambda x, s: x * 0 + 0.25, x, [0.5, 0.0]), torch.full((1, 2), 0.25))
