"""What an evaluation is run with where nothing else is asked for."""

import pytest

from robolearn.evaluation.run import evaluate
from robolearn.evaluation.run.evaluate import CUDA_WORKERS, default_workers


@pytest.mark.parametrize(("cores", "on_cpu", "on_cuda"), [(2, 2, 2), (64, 64, CUDA_WORKERS)])
def test_workers_are_as_many_as_cores_but_few_on_a_graphics_card(monkeypatch, cores, on_cpu, on_cuda):
    monkeypatch.setattr(evaluate, "usable_cores", lambda: cores)
    assert (default_workers("cpu"), default_workers("cuda"), default_workers("cuda:1")) == (on_cpu, on_cuda, on_cuda)
