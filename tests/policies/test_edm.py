import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robolearn.policies import edm
from robolearn.policies.samplers import noise_levels, sample


def test_training_noise_follows_the_truncated_log_logistic():
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    sigma = edm.log_logistic(uniform, 0.5, 0.05, 1.0).numpy()
    expected = {1: 0.067, 10: 0.156, 25: 0.256, 50: 0.413, 75: 0.616, 90: 0.804, 99: 0.976}
    for percent, value in expected.items():
        assert np.percentile(sigma, percent) == pytest.approx(value, abs=0.004)
    assert sigma.min() >= 0.05 - 1e-6 and sigma.max() <= 1.0 + 1e-6


def test_the_wide_range_of_later_work_has_its_published_quantiles():
    uniform = torch.tensor([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
    expected = [0.05, 0.167, 0.289, 0.5, 0.866, 1.50, 4.97]
    assert np.allclose(edm.log_logistic(uniform, 0.5, 0.001, 80.0), expected, rtol=6e-3)


@given(st.floats(1e-3, 80.0), st.floats(0.1, 2.0))
def test_preconditioning_gives_unit_variance_inputs_and_targets(sigma, sigma_data):
    c_skip, c_out, c_in, c_noise = (
        float(c) for c in edm.precondition(torch.tensor(sigma, dtype=torch.float64), sigma_data)
    )
    assert c_in**2 * (sigma**2 + sigma_data**2) == pytest.approx(1.0)
    target_variance = ((1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * sigma**2) / c_out**2
    assert target_variance == pytest.approx(1.0)
    assert c_noise == pytest.approx(math.log(sigma) / 4)


MEAN, STD = torch.tensor([0.3, -0.2], dtype=torch.float64), 0.5
SLOPE = torch.tensor([0.8, -1.5], dtype=torch.float64)


def denoise(x, sigma):
    """Exact for data N(MEAN, STD^2)."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def expected_value(x, sigma):
    """log E[exp(2 SLOPE a) | x] / 2 up to a constant: the posterior mean moves with x by STD^2 / (STD^2 + sigma^2)."""
    return (x @ SLOPE) * STD**2 / (STD**2 + sigma**2)


def test_guidance_by_a_linear_value_samples_the_tilted_gaussian():
    # N(m, s^2) exp(2 q a) is N(m + 2 s^2 q, s^2)
    guided = edm.guided_by_value(denoise, expected_value, weight=2.0)
    sigmas = noise_levels("exponential", 200, 1e-3, 20.0)
    generator = torch.Generator().manual_seed(0)
    start = sigmas[0] * torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        out = sample("dpmpp_2m", guided, start.clone(), sigmas)
    assert torch.allclose(out.mean(0), MEAN + 2 * STD**2 * SLOPE, atol=0.02)
    assert torch.allclose(out.std(0), torch.full_like(MEAN, STD), rtol=0.02)


def test_the_guided_denoiser_is_the_posterior_mean_of_the_tilted_data():
    x, sigma = torch.tensor([[1.0, -2.0]], dtype=torch.float64), 0.7
    tilted = (STD**2 * x + sigma**2 * (MEAN + 2 * STD**2 * SLOPE)) / (STD**2 + sigma**2)
    assert torch.allclose(edm.guided_by_value(denoise, expected_value, 2.0)(x, sigma), tilted)


def test_the_gradient_of_one_row_does_not_reach_another():
    x = torch.randn(3, 2, dtype=torch.float64)
    guided = edm.guided_by_value(denoise, lambda a, s: a.square().sum(1), 1.0)
    assert torch.allclose(guided(x, 0.5)[1:2], guided(x[1:2], 0.5))
