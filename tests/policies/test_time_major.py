"""Time-major operations against torch's own layers, and their gradients against finite differences."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from robolearn.policies.networks.time_major import Conv, Downsample, NormMish, Upsample


def channels_first(x):
    """(T, B, C) -> (B, C, T)."""
    return x.permute(1, 2, 0)


def both_ways(module, x):
    """The module's values while training and while acting, which are computed differently."""
    trained = module(x)
    with torch.no_grad():
        acted = module(x)
    torch.testing.assert_close(trained, acted, rtol=1e-5, atol=1e-6)
    return trained


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_conv_is_torchs_convolution_with_same_padding(steps, taps):
    conv, x = Conv(6, 4, taps), torch.randn(steps, 3, 6)
    plain = nn.Conv1d(6, 4, taps, padding=taps // 2)
    with torch.no_grad():
        plain.weight.copy_(conv.weight.permute(2, 1, 0))
        plain.bias.copy_(conv.bias)
    torch.testing.assert_close(channels_first(both_ways(conv, x)), plain(channels_first(x)), rtol=1e-5, atol=1e-6)


def test_downsample_is_a_convolution_of_three_taps_and_stride_two():
    half, x = Downsample(6), torch.randn(8, 3, 6)
    plain = nn.Conv1d(6, 6, 3, stride=2, padding=1)
    with torch.no_grad():
        plain.weight.copy_(half.weight.permute(2, 1, 0))
        plain.bias.copy_(half.bias)
    torch.testing.assert_close(channels_first(half(x)), plain(channels_first(x)), rtol=1e-5, atol=1e-6)


def test_upsample_is_a_transposed_convolution_of_four_taps_and_stride_two():
    double, x = Upsample(6), torch.randn(4, 3, 6)
    plain = nn.ConvTranspose1d(6, 6, 4, stride=2, padding=1)
    with torch.no_grad():
        plain.weight.copy_(double.weight.permute(1, 2, 0))
        plain.bias.copy_(double.bias)
    torch.testing.assert_close(channels_first(double(x)), plain(channels_first(x)), rtol=1e-5, atol=1e-6)


def test_norm_mish_is_group_norm_then_mish_then_film():
    module, x = NormMish(4, 8), 3 * torch.randn(5, 3, 8) + 1
    nn.init.normal_(module.weight)
    nn.init.normal_(module.bias)
    plain = nn.Sequential(nn.GroupNorm(4, 8), nn.Mish())
    plain[0].load_state_dict(module.state_dict())
    torch.testing.assert_close(channels_first(both_ways(module, x)), plain(channels_first(x)), rtol=1e-5, atol=1e-6)
    scale, shift = torch.randn(2, 3, 8)
    with torch.no_grad():
        expected = plain(channels_first(x)) * scale[..., None] + shift[..., None]
        torch.testing.assert_close(channels_first(module(x, scale, shift)), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(channels_first(module(x, scale, shift)), expected, rtol=1e-5, atol=1e-6)


def test_mish_neither_overflows_nor_loses_its_tail():
    """An input of one group with the given values after normalisation, through weight and bias."""
    module = NormMish(1, 2).double()
    z = torch.tensor([-700.0, -30.0, -1e-9, 0.0, 1e-9, 30.0, 700.0], dtype=torch.float64)
    for value in z:
        with torch.no_grad():
            module.weight.zero_()
            module.bias.fill_(float(value))
        x = torch.randn(2, 1, 2, dtype=torch.float64, requires_grad=True)
        y = module(x)
        torch.testing.assert_close(y, nn.functional.mish(value.expand(2, 1, 2)), rtol=1e-12, atol=0)
        y.sum().backward()
        assert torch.isfinite(x.grad).all() and torch.isfinite(module.bias.grad).all()


@pytest.mark.parametrize("steps", [2, 6])
def test_gradients_of_conv_are_those_of_finite_differences(steps):
    conv, x = Conv(2, 3, 5).double(), torch.randn(steps, 2, 2, dtype=torch.float64, requires_grad=True)

    def values(x, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x,))

    assert gradcheck(values, (x, conv.weight, conv.bias))


@pytest.mark.parametrize("film", [False, True])
def test_gradients_of_norm_mish_are_those_of_finite_differences(film):
    module = NormMish(2, 4).double()
    nn.init.normal_(module.weight)
    x, scale, shift = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in [(3, 2, 4)] + 2 * [(2, 4)]
    )

    def values(x, weight, bias, *film):
        return torch.func.functional_call(module, {"weight": weight, "bias": bias}, (x, *film))

    assert gradcheck(values, (x, module.weight, module.bias, *((scale, shift) if film else ())))


def test_under_autocast_products_are_bfloat16_and_gradients_float32():
    conv, norm, x = Conv(8, 8, 3), NormMish(2, 8), torch.randn(4, 3, 8)
    scale, shift = torch.randn(2, 3, 8)
    exact = norm(conv(x), scale, shift)
    with torch.autocast("cpu", torch.bfloat16):
        half = norm(conv(x), scale, shift)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.05)
    half.float().square().sum().backward()
    assert {p.grad.dtype for module in (conv, norm) for p in module.parameters()} == {torch.float32}
