import pytest
import torch
from torch import nn

from robolearn.training.config import EmaConfig
from robolearn.training.ema import Ema
from robolearn.training.schedule import warmup_cosine


def test_the_decay_follows_the_power_schedule():
    ema = Ema(nn.Linear(1, 1), EmaConfig())
    assert [ema.decay(n) for n in (0, 1)] == [0.0, 0.0]
    assert ema.decay(2) == pytest.approx(1 - 2**-0.75)
    assert ema.decay(10_000) == pytest.approx(0.999)
    assert ema.decay(10**9) == 0.9999


def test_the_average_is_the_recursion_written_out():
    module = nn.Linear(1, 1, bias=False)
    ema = Ema(module, EmaConfig())
    expected = 0.0
    for n, value in enumerate([1.0, 3.0, -2.0, 5.0]):
        with torch.no_grad():
            module.weight.fill_(value)
        ema.update()
        expected = ema.decay(n) * expected + (1 - ema.decay(n)) * value
    assert float(ema.averaged["weight"]) == pytest.approx(expected)


def test_the_constant_schedule_weighs_the_past_geometrically():
    module = nn.Linear(1, 1, bias=False)
    ema = Ema(module, EmaConfig(schedule="constant", max_decay=0.9))
    for value in (1.0, 2.0, 3.0, 4.0):
        nn.init.constant_(module.weight, value)
        ema.update()
    # the first value stands for all before it; the other weights are 0.1 * 0.9^age
    expected = 0.9**3 * 1 + 0.1 * (0.9**2 * 2 + 0.9 * 3 + 4)
    assert float(ema.averaged["weight"]) == pytest.approx(expected)


def batch_norm_trained_from_2_to_6():
    """A module with floating-point and integer buffers, all of it 9 by now, and its average."""
    module = nn.BatchNorm1d(1)
    ema = Ema(module, EmaConfig(schedule="constant", max_decay=0.5))
    for value in (2, 6, 9):
        for tensor in module.state_dict().values():
            tensor.fill_(value)
        if value < 9:
            ema.update()
    return module, ema


def as_lists(tensors):
    return {name: tensor.tolist() for name, tensor in tensors.items()}


WEIGHTS_AVERAGED_BUFFERS_COPIED = {
    "weight": [4.0], "bias": [4.0], "running_mean": [6.0], "running_var": [6.0], "num_batches_tracked": 6
}  # fmt: skip


def test_buffers_are_copied_not_averaged():
    _, ema = batch_norm_trained_from_2_to_6()
    assert as_lists(ema.averaged) == WEIGHTS_AVERAGED_BUFFERS_COPIED


def test_the_module_has_averaged_weights_and_copied_buffers_only_within():
    module, ema = batch_norm_trained_from_2_to_6()
    own = as_lists(module.state_dict())
    with ema.applied():
        assert as_lists(module.state_dict()) == WEIGHTS_AVERAGED_BUFFERS_COPIED
    assert as_lists(module.state_dict()) == own
    assert as_lists(ema.averaged) == WEIGHTS_AVERAGED_BUFFERS_COPIED


def test_an_error_within_gives_the_module_its_own_weights_back():
    module, ema = batch_norm_trained_from_2_to_6()
    own = as_lists(module.state_dict())
    with pytest.raises(ZeroDivisionError), ema.applied():
        raise ZeroDivisionError
    assert as_lists(module.state_dict()) == own


def test_warmup_then_cosine():
    rates = [warmup_cosine(s, total=110, warmup=10, final=0.1) for s in (0, 4, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.55, 0.1])
