import torch

from robolearn.policies.draws import categorical, randn


def test_classes_come_by_their_probability():
    logits = torch.tensor([0.1, 0.2, 0.0, 0.7]).log().expand(200_000, 4)
    drawn = categorical(logits, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    # four standard errors of a share
    assert (shares - torch.tensor([0.1, 0.2, 0.0, 0.7])).abs().max() < 4 * 0.5 / 200_000**0.5
    assert shares[2] == 0


def test_a_certain_class_is_always_drawn_and_shapes_are_kept():
    logits = torch.full((50, 40, 3), -200.0)
    logits[..., 1] = 0.0
    drawn = categorical(logits, None)
    assert drawn.shape == (50, 40) and (drawn == 1).all()


def test_generators_decide_the_numbers():
    like = torch.zeros(1, dtype=torch.float64)
    first, again, other = (randn((5,), torch.Generator().manual_seed(s), like) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and first.dtype == torch.float64
