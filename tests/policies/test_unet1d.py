"""The conditional U-Net: the authors' sizes, and the values and gradients of a plain one."""

import sys
from pathlib import Path

import pytest
import torch

from robolearn.core.errors import ConfigError
from robolearn.policies.networks.unet1d import ConditionalUnet1d, step_embedding

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from _plain_unet import PlainUnet, copy_weights

SMALL = {"widths": (8, 16, 24), "kernel_size": 5, "groups": 4, "step_dim": 8}


def formula(action_dim, cond_dim, widths, kernel, step_dim):
    """Parameters of the published network, layer by layer."""

    def conv(taps, before, after):
        return taps * before * after + after

    def block(before, after):
        skip = conv(1, before, after) if before != after else 0
        convs = conv(kernel, before, after) + conv(kernel, after, after) + 2 * 2 * after
        return convs + conv(1, step_dim + cond_dim, 2 * after) + skip

    total = conv(1, step_dim, 4 * step_dim) + conv(1, 4 * step_dim, step_dim)
    for before, after in zip((action_dim, *widths[:-1]), widths, strict=True):
        total += block(before, after) + block(after, after)
    total += sum(conv(3, w, w) + conv(4, w, w) for w in widths[:-1]) + 2 * block(widths[-1], widths[-1])
    for below, above in zip(widths[1:], widths[:-1], strict=True):
        total += block(2 * below, above) + block(above, above)
    return total + conv(kernel, widths[0], widths[0]) + 2 * widths[0] + conv(1, widths[0], action_dim)


@pytest.mark.parametrize(
    ("widths", "step_dim", "millions"),
    [
        ((256, 512, 1024), 256, 65.8),
        ((128, 256, 512), 256, 17.9),
        ((64, 128, 256), 256, 5.4),
        ((64, 128, 256), 128, 4.6),
    ],
)
def test_sizes_for_push_t_keypoints_are_the_published_ones(widths, step_dim, millions):
    """20 numbers observed twice, actions of 2."""
    with torch.device("meta"):
        unet = ConditionalUnet1d(2, 40, widths, kernel_size=5, step_dim=step_dim)
    count = sum(p.numel() for p in unet.parameters())
    assert count == formula(2, 40, widths, 5, step_dim)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_levels_have_half_the_steps_and_their_own_width():
    unet, shapes = ConditionalUnet1d(2, 3, **SMALL), []
    for stage in (*unet.down, unet.middle, *unet.up, unet.last):
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    assert unet(torch.randn(5, 16, 2), torch.zeros(5), torch.randn(5, 3)).shape == (5, 16, 2)
    # on the way up a stage has the steps of the level below and the width of its own; then the steps double
    assert shapes == [(16, 5, 8), (8, 5, 16), (4, 5, 24), (4, 5, 24), (4, 5, 16), (8, 5, 8), (16, 5, 8)]


@pytest.mark.parametrize("widths", [(8,), (8, 16), (8, 16, 24)])
def test_values_and_gradients_are_those_of_plain_layers(widths):
    plain, unet = (kind(2, 3, **{**SMALL, "widths": widths}) for kind in (PlainUnet, ConditionalUnet1d))
    copy_weights(plain, unet)
    actions, step, condition = torch.randn(4, 12, 2), torch.tensor([0, 7, 50, 99]), torch.randn(4, 3)
    gradients = []
    for network in (plain, unet):
        inputs = [t.clone().requires_grad_() for t in (actions, condition)]
        output = network(inputs[0], step, inputs[1])
        output.square().sum().backward()
        gradients.append((output.detach(), *(t.grad for t in inputs), network.head.bias.grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_every_weight_matters():
    unet = ConditionalUnet1d(2, 3, **SMALL)
    unet(torch.randn(4, 12, 2), torch.tensor([0, 7, 50, 99]), torch.randn(4, 3)).square().sum().backward()
    assert [name for name, p in unet.named_parameters() if not p.grad.abs().max() > 0] == []


def test_denoiser_gives_the_networks_values_at_each_step():
    unet, steps = ConditionalUnet1d(2, 5, **SMALL), torch.tensor([90, 40, 0])
    actions, observation, goal = torch.randn(3, 8, 2), torch.randn(3, 1, 3), torch.randn(3, 1, 2)
    predict = unet.denoiser(steps, observation, goal)
    for i, step in enumerate(steps):
        whole = unet(actions, step.expand(3), observation, goal)
        torch.testing.assert_close(predict(actions, i), whole, rtol=1e-5, atol=1e-5)


def test_step_embedding_is_sines_then_cosines_of_falling_frequency():
    expected = torch.tensor([[2.0, 2 / 100, 2 / 10000]])
    embedded = step_embedding(torch.tensor([2]), 6)
    torch.testing.assert_close(embedded, torch.cat([expected.sin(), expected.cos()], dim=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (8, 10)}, "multiple of its 4 groups"),
        ({"widths": ()}, "multiple of its 4 groups"),
        ({"kernel_size": 4}, "odd and positive, found 4"),
        ({"step_dim": 7}, "even and at least 4, found 7"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        ConditionalUnet1d(2, 3, **{**SMALL, **change})
