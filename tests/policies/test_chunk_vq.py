import pytest
import torch

from robolearn.policies.networks.chunk_vq import ChunkVq, ResidualQuantizer

ONES = torch.ones(6)


def quantizer(entries, training=False):
    """With these codebooks, (Q, C, D)."""
    entries = torch.as_tensor(entries)
    made = ResidualQuantizer(entries.shape[2], entries.shape[0], entries.shape[1])
    made.codebook.data.copy_(entries)
    return made.train(training)


def test_each_layer_takes_the_entry_nearest_to_what_is_left():
    torch.manual_seed(0)
    made, z = quantizer(torch.randn(2, 5, 3)), torch.randn(6, 3)
    quantized, codes, distance = made(z, ONES)
    for row in range(6):
        left, expected = z[row], 0.0
        for layer in range(2):
            entries = made.codebook[layer]
            nearest = min(range(5), key=lambda c: float((left - entries[c]).norm()))
            assert codes[row, layer] == nearest
            left = left - entries[nearest]
            expected += float(left.square().mean())
        assert torch.allclose(quantized[row], z[row] - left, atol=1e-6)
        assert float(distance[row]) == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(made.embed(codes), quantized, atol=1e-6)


def test_the_gradient_passes_straight_through():
    z = torch.randn(6, 3, requires_grad=True)
    made = quantizer(torch.randn(2, 5, 3))
    made(z, ONES)[0].sum().backward()
    assert torch.allclose(z.grad, torch.ones_like(z))
    assert not made.codebook.requires_grad and "codebook" in dict(made.named_parameters())


def test_entries_move_by_the_moving_average_of_counts_and_sums():
    made = quantizer([[[0.0], [10.0], [99.0]]], training=True)
    made(torch.tensor([[1.0], [2.0], [9.0]]), torch.ones(3))
    count, total, kept, new = torch.tensor([2.0, 1.0]), torch.tensor([3.0, 9.0]), 0.8, 0.2
    expected = (kept * torch.tensor([0.0, 10.0]) + new * total) / (kept + new * count)
    assert torch.allclose(made.codebook[0, :2, 0], expected)
    assert made.codebook[0, 2, 0] == 99.0, "an entry without rows stays"


def test_entries_converge_to_the_means_of_what_they_stand_for():
    made = quantizer([[[-0.1], [0.1]]], training=True)
    z = torch.tensor([[-3.0], [-1.0], [2.0], [4.0], [6.0], [8.0]])
    for _ in range(100):
        made(z, ONES)
    assert torch.allclose(made.codebook[0, :, 0], torch.tensor([-2.0, 5.0]), atol=1e-4)


def test_rows_without_weight_and_evaluation_move_nothing():
    torch.manual_seed(0)
    entries, z = torch.randn(2, 4, 3), torch.randn(6, 3)
    made = quantizer(entries)
    made(z, ONES)
    assert torch.equal(made.codebook, entries)
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    ignoring, without = quantizer(entries, training=True), quantizer(entries, training=True)
    ignoring(z, weight)
    without(z[weight > 0], ONES[:4])
    assert torch.allclose(ignoring.codebook, without.codebook, atol=1e-6)


def test_processes_move_the_entries_as_one_would(monkeypatch):
    """Here the other process holds the same rows, so that the sum over processes is twice what this one has."""
    torch.manual_seed(0)
    entries, z = torch.randn(2, 4, 3), torch.randn(6, 3)
    one, of_two = quantizer(entries, training=True), quantizer(entries, training=True)
    one(torch.cat([z, z]), torch.ones(12))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda found: found.mul_(2))
    of_two(z, ONES)
    assert torch.allclose(of_two.codebook, one.codebook, atol=1e-6)


def test_unused_entries_survive_a_thousand_batches():
    made = quantizer([[[0.0], [50.0]]], training=True)
    for _ in range(1000):
        made(torch.full((6, 1), 1.0), ONES)
    assert torch.isfinite(made.codebook).all() and made.codebook[0, 1, 0] == 50.0


def test_decoding_the_codes_is_what_the_loss_compares():
    torch.manual_seed(0)
    vq = ChunkVq(4, latent_dim=8, hidden_dim=16, layers=2, codes=4, commitment=0.0).eval()
    chunks = torch.randn(6, 4)
    codes, loss = vq(chunks, ONES)
    assert torch.allclose(loss, (vq.decode(codes) - chunks).abs().mean(dim=1), atol=1e-5)
