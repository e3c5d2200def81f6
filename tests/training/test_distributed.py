"""Two real processes train what one would."""

import subprocess
import sys
from datetime import timedelta

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed
from world import BESO, run_config, write_dataset

from robolearn.cli.main import main
from robolearn.core.config import save_yaml, to_dict
from robolearn.training.distributed import Processes
from robolearn.training.metrics import read_metrics

STILL = {**to_dict(BESO), "dropout": 0.0, "attention_dropout": 0.0, "goals": ["observation.state"]}


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_and_weights_of_one(tmp_path):
    dataset = write_dataset(tmp_path / "d.zarr")
    for name in ("one", "two"):
        run = to_dict(run_config(dataset, tmp_path / name, steps=12, log_every=1, checkpoint_every=6, accumulate=2))
        save_yaml({**run, "policy": STILL}, tmp_path / f"{name}.yaml")

    assert main(["train", "beso", "--config", str(tmp_path / "one.yaml")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "robolearn", "train", "beso", "--config", str(tmp_path / "two.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained to step 12") == 1, "one of them speaks"
    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    for quantity in ("loss", "grad_norm", "val_loss", "action_error"):
        expected = [line[quantity] for line in one if quantity in line]
        assert len(expected) == (2 if "val" in quantity or "action" in quantity else 12)
        assert [line[quantity] for line in two if quantity in line] == pytest.approx(expected, rel=1e-4)
    weights = [load_file(tmp_path / name / "checkpoints/last/model.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)


def test_the_others_wait_for_as_long_as_the_first_evaluates(monkeypatch):
    patience = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(distributed, "init_process_group", lambda *_, timeout: patience.append(timeout))
    monkeypatch.setattr(distributed, "new_group", lambda *_, backend, timeout: patience.append(timeout))
    Processes("cpu")
    assert len(patience) == 2 and min(patience) >= timedelta(hours=12)


def test_one_process_needs_no_group():
    alone = Processes("cpu")
    assert (alone.rank, alone.world_size, alone.is_first) == (0, 1, True)
    assert alone.mean([0.1, 2.0]) == [0.1, 2.0] and alone.any(True) and not alone.any(False)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    alone.average_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    alone.wait()
    alone.close()
