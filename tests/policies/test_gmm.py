import math

import pytest
import torch
from scipy import stats

from robolearn.policies.networks.gmm import Mixture, MixtureHead


def two_modes():
    """0.25 N((1, 0), diag(0.5, 2)^2) + 0.75 N((-1, 3), diag(1, 0.1)^2), scaled logits."""
    return Mixture(
        torch.tensor([0.25, 0.75]).log() + 7.0,
        torch.tensor([[1.0, 0.0], [-1.0, 3.0]]),
        torch.tensor([[0.5, 2.0], [1.0, 0.1]]),
    )


def test_the_density_is_that_of_the_formula():
    x = torch.tensor([0.3, 2.9])
    density = 0.25 * stats.norm.pdf(0.3, 1, 0.5) * stats.norm.pdf(2.9, 0, 2)
    density += 0.75 * stats.norm.pdf(0.3, -1, 1) * stats.norm.pdf(2.9, 3, 0.1)
    assert float(two_modes().log_prob(x)) == pytest.approx(math.log(density), rel=1e-5)


def test_far_away_the_nearest_mode_decides_without_underflow():
    mixture = Mixture(torch.zeros(2), torch.tensor([[0.0], [1.0]]), torch.full((2, 1), 1e-4))
    expected = math.log(0.5) - (0.2 / 1e-4) ** 2 / 2 - math.log(1e-4) - math.log(2 * math.pi) / 2
    assert float(mixture.log_prob(torch.tensor([0.2]))) == pytest.approx(expected, rel=1e-5)


def test_samples_have_the_moments_of_the_mixture():
    mixture, rows = two_modes(), 100_000
    many = Mixture(*(part.expand(rows, *part.shape) for part in (mixture.logits, mixture.mean, mixture.std)))
    x = many.sample(torch.Generator().manual_seed(0))
    mean = 0.25 * mixture.mean[0] + 0.75 * mixture.mean[1]
    second = 0.25 * (mixture.mean[0] ** 2 + mixture.std[0] ** 2) + 0.75 * (mixture.mean[1] ** 2 + mixture.std[1] ** 2)
    std = (second - mean**2).sqrt()
    assert ((x.mean(0) - mean).abs() < 4 * std / rows**0.5).all()
    assert torch.allclose(x.std(0), std, rtol=0.02)


def test_with_little_noise_samples_are_the_means_of_modes():
    mixture, rows = two_modes(), 1000
    many = Mixture(*(part.expand(rows, *part.shape) for part in (mixture.logits, mixture.mean, mixture.std)))
    x = many.sample(torch.Generator().manual_seed(0), std=1e-4)
    distance = (x[:, None] - mixture.mean).norm(dim=-1)
    assert distance.min(dim=1).values.max() < 1e-3
    share = float((distance.argmin(dim=1) == 0).float().mean())
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / rows) ** 0.5


def test_the_head_bounds_means_and_standard_deviations():
    head = MixtureHead(8, outputs=3, modes=5, min_std=1e-4)
    mixture = head(torch.randn(2, 7, 8) * 100)
    assert mixture.logits.shape == (2, 7, 5) and mixture.mean.shape == mixture.std.shape == (2, 7, 5, 3)
    assert mixture.mean.abs().max() <= 1 and mixture.std.min() >= 1e-4
    assert mixture.log_prob(torch.zeros(2, 7, 3)).shape == (2, 7)
