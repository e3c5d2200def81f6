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


def test_warmup_then_cosine():
    rates = [warmup_cosine(s, total=110, warmup=10, final=0.1) for s in (0, 4, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.55, 0.1])
