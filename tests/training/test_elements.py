"""What is said at the start of a run about the numbers it is going to learn from."""

from dataclasses import replace

import numpy as np
import pytest
from world import BC, run_config, write_dataset

from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.training.elements import survey
from robolearn.training.trainer import Trainer

RNG = np.random.default_rng(0)


def note(column: np.ndarray, names=("x",), clip: float | None = None) -> str | None:
    column = column.reshape(len(column), -1)
    declared = features([Feature("action", column.shape[1:], column.dtype.name, names=names)])
    arrays = {"action": column}
    return survey(arrays, declared, Normalizer.fit(arrays, declared), "action", clip).note()


def test_usual_numbers_need_no_word():
    for column in (RNG.uniform(-2, 3, 500), RNG.normal(size=5000).astype(np.float32), np.arange(900) // 450):
        assert note(column) is None


def test_what_stands_still_is_named_with_where_it_stands():
    assert note(np.full(20, 0.25)) == (
        "treated as constant, so neither learnt nor counted by action_error: action x (0.25)"
    )
    flickering = np.float32(0.3) + np.float32(3e-8) * RNG.integers(0, 2, 50).astype(np.float32)
    assert note(flickering).endswith("action x (within 2.98e-08 of 0.3)")


def test_an_observation_that_stands_still_is_nothing_to_learn_from():
    declared = features([Feature("observation.state", (2,)), Feature("action", (1,))])
    arrays = {"observation.state": np.zeros((9, 2)), "action": np.zeros((9, 1))}
    assert survey(arrays, declared, Normalizer.fit(arrays, declared), "action", None).note() == (
        "treated as constant, so neither learnt nor counted by action_error: action 0 (0); "
        "treated as constant, so not learnt from: observation.state 0 (0), observation.state 1 (0)"
    )


def test_what_sampling_cuts_off_is_named():
    assert "clipped when sampled: action x (0 to 2)" in note(np.linspace(0, 2, 50), clip=0.5)
    assert note(np.linspace(0, 2, 50), clip=1.0) is None
    rotation = np.linspace(0, 2, 50)  # left as it is, though it is none
    assert "clipped when sampled: action rot6d_0 (0 to 2)" in note(rotation, ("rot6d_0",), clip=1.1)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (np.append(np.linspace(0, 1, 999), 1e4), "with outliers: action x (0 to 1e+04, 98 % of it 0.01001 to 0.991)"),
        (np.append(np.zeros(2999), 5.0), "with outliers: action x (0 to 5, 98 % of it 0 to 0)"),
        (4.5e6 + np.arange(500) / 499, "taken off in double precision: action x (moves by 1 around 4.5e+06)"),
        ((1.7e9 + np.arange(5000)).astype(np.float32), "39 steps of float32)"),
        (np.linspace(0, 3e-5, 500).astype(np.float32), "(leave out what is noise): action x (moves by 3e-05)"),
    ],
)
def test_odd_numbers_are_named(column, words):
    assert note(column).startswith("unusual, ") and words in note(column)


def test_a_feature_that_means_something_else_in_each_dataset_is_named():
    here, there = 4.5e6 + np.linspace(0, 1, 40), 5.1e6 + np.linspace(0, 0.5, 60)
    declared, arrays = features([Feature("action", (1,), "float64")]), {"action": np.append(here, there)[:, None]}
    normalizer = Normalizer.fit(arrays, declared)
    assert survey(arrays, declared, normalizer, "action", None, [40, 60]).note() == (
        "unusual, small beside what tells the datasets apart: action 0 (moves by 1 in one of them, by 6e+05 in all)"
    )
    assert survey(arrays, declared, normalizer, "action", None, [100]).note() is None


def test_all_that_is_odd_in_one_way_is_said_in_one_place():
    far = 4.5e6 + np.linspace(0, 1, 40)
    assert note(np.stack([far, far], axis=1), ("x", "y")) == (
        "unusual, far from 0, which is taken off in double precision: action x (moves by 1 around 4.5e+06), "
        "action y (moves by 1 around 4.5e+06)"
    )


def test_a_switch_that_is_seldom_used_is_nothing_odd():
    assert note(np.repeat([0, 1, 0], [700, 5, 295]).astype(np.float32)) is None


def test_many_elements_are_counted():
    assert note(np.zeros((9, 8)), names=tuple("abcdefgh")).endswith("action f (0) and 2 more")


def test_an_action_that_is_thrown_away_has_no_error(tmp_path):
    path = write_dataset(tmp_path / "d.zarr", episodes=4, length=12)
    trainer = Trainer(run_config(path, tmp_path / "run"), "bc", replace(BC), quiet=True)
    trainer.elements.constant["action"][:] = True
    assert np.isnan(trainer._validate()["action_error"])
    learnt = trainer.elements.constant["action"]
    learnt[0] = False
    trainer.policy.predict = lambda batch, generator: batch["action"] + batch["action"].new_tensor([0.5, 9.0])
    assert trainer._validate()["action_error"] == pytest.approx(0.5, rel=1e-5)
