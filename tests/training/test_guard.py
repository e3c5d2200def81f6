"""Runs whose numbers stop being numbers."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from world import BC, run_config, write_dataset

from robolearn.policies.checkpoint import load_provenance
from robolearn.training.guard import DivergedError
from robolearn.training.trainer import Trainer


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr")


def test_a_loss_that_is_not_finite_keeps_its_batch_and_where_it_is_from(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run", loader_workers=0), "bc", BC, quiet=True)
    loss = trainer._step._loss

    def poisoned(batch, noise):
        return loss(batch, noise) * (float("nan") if trainer.step == 13 else 1.0)

    trainer._step._loss = poisoned
    with pytest.raises(DivergedError, match=r"loss became nan.* at step 13; its batch is kept in .*diverged-00000013"):
        trainer.run()
    assert load_provenance(tmp_path / "run")["step"] == 10
    file = tmp_path / "run" / "diverged-00000013.safetensors"
    kept, batch = load_file(file), trainer.batches.at(13)
    assert all(torch.equal(kept[name], batch[name]) for name in batch)
    state = trainer.corpus.datasets[0].array("observation.state")
    assert np.array_equal(kept["observation.state"][:, -1], state[kept["origin.step"]])
    assert np.array_equal(kept["origin.episode"], kept["origin.step"] // 25)
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"step": "13"}


def test_that_there_is_no_checkpoint_yet_is_said(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run", learning_rate=1e30), "bc", BC, quiet=True)
    with pytest.raises(DivergedError, match=r"there is no checkpoint yet. Try a lower --learning-rate"):
        trainer.run()


def test_weights_that_are_not_finite_are_never_saved(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run"), "bc", BC, quiet=True)
    apply = trainer._step.apply

    def poisoned(step):
        rate = apply(step)
        if step == 19:
            with torch.no_grad():
                next(trainer.policy.parameters()).view(-1)[0] = float("inf")
        return rate

    trainer._step.apply = poisoned
    with pytest.raises(DivergedError, match="weights became non-finite at step 19; .*Try a lower --learning-rate"):
        trainer.run()
    assert load_provenance(tmp_path / "run")["step"] == 10


def test_weights_are_blamed_for_the_loss_of_the_next_step(dataset, tmp_path):
    trainer = Trainer(run_config(dataset, tmp_path / "run"), "bc", BC, quiet=True)
    apply = trainer._step.apply

    def poisoned(step):
        rate = apply(step)
        if step == 2:
            with torch.no_grad():
                next(trainer.policy.parameters()).fill_(float("nan"))
        return rate

    trainer._step.apply = poisoned
    with pytest.raises(DivergedError, match="weights became non-finite at step 2;"):
        trainer.run()
