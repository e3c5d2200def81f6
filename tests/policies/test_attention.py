import pytest
import torch
import torch.nn.functional as F

from robolearn.policies.networks.attention import add_dropped, attention, dropped
from robolearn.policies.networks.transformer import CausalBlock, causal_mask


@pytest.fixture
def torch_kernels(monkeypatch):
    """The way of GPUs and torch.compile."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("length", [1, 7, 16, 17])
def test_attention_and_its_gradient_are_those_of_softmax_attention(length, outputs):
    outputs = outputs and min(outputs, length)
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, length, 24, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = causal_mask(length).to(torch.float64)
    q, k, v = qkv.unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)[:, -(outputs or length) :]
    found = attention(qkv, 2, mask, outputs=outputs)
    assert torch.allclose(found, expected)
    gradient = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    assert torch.allclose(*(torch.autograd.grad(y, qkv, gradient, retain_graph=True)[0] for y in (found, expected)))


def test_the_gradient_fits_what_dropout_left_in():
    qkv = torch.randn(2, 5, 24, dtype=torch.float64, requires_grad=True)

    def forward(x):
        torch.manual_seed(0)
        return attention(x, 2, causal_mask(5).to(torch.float64), dropout=0.4)

    assert torch.autograd.gradcheck(forward, (qkv,))
    assert not torch.allclose(forward(qkv), attention(qkv, 2, causal_mask(5).to(torch.float64)))


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_dropout_drops_its_share_independently_and_keeps_the_mean(share):
    torch.manual_seed(0)
    out = dropped(torch.ones(1000, 1003), share, training=True)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)], rel=1e-4)
    zeros = (out == 0).double()
    assert float(zeros.mean()) == pytest.approx(share, abs=1e-3)
    assert float(out.mean()) == pytest.approx(1.0, abs=2e-3)
    for lag in range(1, 9):  # four elements share one 64-bit draw: they must not share their fate
        both = zeros.flatten()[lag:] * zeros.flatten()[:-lag]
        assert float(both.mean()) == pytest.approx(share**2, abs=1e-3)


@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_torchs_kernels_give_the_same_values_and_gradients(outputs, request):
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 7, 24, generator=generator, requires_grad=True)
    # each token looks at three, at random but for itself: rows of the mask are not to be confused
    hidden = torch.rand(7, 7, generator=generator).fill_diagonal_(0).argsort(dim=1).argsort(dim=1) >= 3
    mask = torch.zeros(7, 7).masked_fill(hidden, float("-inf"))
    gradient = torch.randn(3, outputs or 7, 24 // 3, generator=generator)

    def run():
        out = attention(qkv, 2, mask, outputs=outputs)
        return out, *torch.autograd.grad(out, qkv, gradient)

    by_hand = run()
    request.getfixturevalue("torch_kernels")
    fused = run()
    assert type(fused[0].grad_fn) is not type(by_hand[0].grad_fn)
    for found, expected in zip(fused, by_hand, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("torch_kernels")
@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("residual", [False, True])
def test_torchs_dropout_drops_its_share_and_keeps_the_mean(residual, share):
    torch.manual_seed(0)
    y = torch.ones(1000, 1000)
    out = add_dropped(2 * y, y, share, training=True) - 2 if residual else dropped(y, share, training=True)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)], rel=1e-4)
    assert float((out == 0).double().mean()) == pytest.approx(share, abs=2e-3)
    assert float(out.mean()) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.usefixtures("torch_kernels")
def test_torchs_attention_drops_weights_at_the_given_rate():
    # all scores and values are 1: each of 50 keys weighs 1 / 50, or is dropped
    torch.manual_seed(0)
    out = attention(torch.ones(400, 50, 6), 2, torch.zeros(50, 50), dropout=0.3)
    assert float(out.mean()) == pytest.approx(1.0, abs=5e-3)
    assert float(out[..., 0].var()) == pytest.approx(0.3 / 0.7 / 50, rel=0.05)


def test_dropout_follows_torchs_seed_and_is_off_in_evaluation():
    x, y = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(add_dropped(x, y, 0.5, training=True))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert torch.equal(add_dropped(x, y, 0.5, training=False), x + y)
    assert torch.equal(dropped(x, 0.5, training=False), x)


def test_a_causal_block_sees_nothing_later():
    torch.manual_seed(0)
    block = CausalBlock(24, 2, 6, 0.0, 0.0)
    x = torch.randn(1, 5, 24)
    other = x.clone()
    other[:, 3] = torch.randn(24)
    same = torch.isclose(block(x), block(other), atol=1e-6).all(dim=-1)[0]
    assert same.tolist() == [True, True, True, False, False]


def test_only_the_last_tokens_of_a_block_are_computed_on_demand():
    block = CausalBlock(24, 2, 6, 0.0, 0.0)
    x = torch.randn(2, 6, 24)
    assert torch.allclose(super(CausalBlock, block).forward(x, block.mask, 2), block(x)[:, -2:], atol=1e-6)
