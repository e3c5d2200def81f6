"""Data that cannot be trained on, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from world import BC, run_config, write_dataset

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.datasets.write.edits import set_mask
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.training.corpus import Corpus, vector_features
from robolearn.training.trainer import Trainer


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d.zarr", episodes=4, length=9)


def fitted(corpus: Corpus, policy_config) -> Normalizer:
    spec = corpus.spec(policy_config)
    return Normalizer.fit(corpus.vectors(spec), vector_features(spec))


def refused(kind, config, policy_config=BC) -> str:
    with pytest.raises(kind) as error:
        Trainer(config, "bc", policy_config, quiet=True)
    assert "\n" not in str(error.value)
    assert not config.output.exists()
    return str(error.value)


def test_a_mask_that_does_not_exist_or_selects_nothing_is_named(dataset, tmp_path):
    set_mask(dataset, "nobody", [])
    message = refused(DatasetError, run_config(dataset, tmp_path / "run", masks=("nobody",)))
    assert "none of its 4 episodes is in mask 'nobody'" in message
    assert "'nobodi'" in refused(DatasetError, run_config(dataset, tmp_path / "run", masks=("nobodi",)))


def test_a_dataset_shorter_than_the_window_names_the_options(dataset, tmp_path):
    message = refused(DatasetError, run_config(dataset, tmp_path / "run"), replace(BC, obs_horizon=2, action_horizon=9))
    assert "the longest episode has 9 steps, shorter than a window of 10 (--policy.obs-horizon 2" in message
    Trainer(run_config(dataset, tmp_path / "run"), "bc", replace(BC, obs_horizon=2, action_horizon=8), quiet=True)


def test_a_missing_default_feature_names_the_option_and_what_there_is(tmp_path):
    declared = features([Feature("observation.state", (2,)), Feature("action", (1,))])
    with DatasetWriter.create(tmp_path / "d.zarr", declared, 10.0) as writer:
        writer.start_episode()
        for step in range(12):
            values = {"observation.state": np.full(2, step, np.float32), "action": np.full(1, step, np.float32)}
            writer.append(step / 10, values)
        writer.commit({"task": "t"})
    message = refused(ConfigError, run_config(tmp_path / "d.zarr", tmp_path / "run"))
    assert "Unknown feature 'observation.environment_state'" in message
    assert "Known: action, observation.state" in message and "--policy.observations" in message
    goal = replace(BC, observations=("observation.state",), goals=("observation.stat",))
    message = refused(ConfigError, run_config(tmp_path / "d.zarr", tmp_path / "run"), goal)
    assert "Did you mean 'observation.state'" in message and "--policy.goals" in message


def test_non_finite_data_name_the_episode_and_its_step(tmp_path):
    path = write_dataset(tmp_path / "d.zarr", episodes=3, length=9)
    corpus = Corpus([path], (), (), 0.0, 0)
    damaged = corpus.datasets[0].array("action").copy()
    damaged[9 + 4] = np.inf
    corpus.datasets[0].array = lambda name: damaged
    with pytest.raises(DatasetError, match=r"d\.zarr: feature 'action' .* in episode 1 at its step 4 \(step 13 of all"):
        fitted(corpus, replace(BC, observations=("action",)))


def test_missing_and_empty_datasets_are_named(tmp_path):
    assert "nowhere.zarr" in refused(DatasetError, run_config(tmp_path / "nowhere.zarr", tmp_path / "run"))
    with DatasetWriter.create(tmp_path / "e.zarr", features([Feature("action", (1,))]), 10.0):
        pass
    assert "holds no episode yet" in refused(DatasetError, run_config(tmp_path / "e.zarr", tmp_path / "run"))


def test_weights_are_one_for_each_dataset(dataset, tmp_path):
    with pytest.raises(ConfigError, match="--weights must give one number for each dataset, found 1 for 2"):
        run_config((dataset, dataset), tmp_path / "run", weights=(1.0,))


def test_datasets_that_differ_are_refused(dataset, tmp_path):
    declared = features(
        [Feature("observation.state", (4,)), Feature("observation.environment_state", (2,)), Feature("action", (2,))]
    )
    with DatasetWriter.create(tmp_path / "o.zarr", declared, 10.0) as writer:
        writer.start_episode()
        for step in range(12):
            writer.append(step / 10, {name: np.zeros(f.shape, np.float32) for name, f in declared.items()})
        writer.commit({"task": "t"})
    message = refused(FeatureError, run_config((dataset, tmp_path / "o.zarr"), tmp_path / "run"))
    assert "'observation.state' has shape (3,)" in message


def test_held_out_episodes_are_whole_and_of_every_dataset(dataset, tmp_path):
    other = write_dataset(tmp_path / "o.zarr", episodes=10)
    corpus = Corpus([dataset, other], (), (), 0.2, 0)
    for train, val, total in zip(corpus.train, corpus.val, (4, 10), strict=True):
        assert sorted([*train.episodes, *val.episodes]) == list(range(total))
        assert len(val.episodes) == max(1, round(0.2 * total))


def test_the_normaliser_covers_all_datasets(dataset, tmp_path):
    other = write_dataset(tmp_path / "o.zarr", episodes=1)
    corpus = Corpus([dataset, other], (), (), 0.0, 0)
    scale = fitted(corpus, BC).scale["action"]
    actions = np.concatenate([d.array("action") for d in corpus.datasets])
    np.testing.assert_allclose(scale, 2 / (actions.max(0) - actions.min(0)), rtol=1e-5)


def test_the_start_states_of_what_is_trained_on_are_recorded(dataset, tmp_path):
    path = tmp_path / "s.zarr"
    declared = features([Feature("observation.state", (1,)), Feature("action", (1,))])
    with DatasetWriter.create(path, declared, 10.0, {"robot": "sim:put_on_plate"}) as writer:
        for state in (7, 3, None, 4, 12):
            writer.start_episode(None if state is None else {"init_state": state})
            writer.append(0.0, {name: np.zeros(1, np.float32) for name in declared})
            writer.commit({})
    assert Corpus([path, dataset], (), (), 0.0, 0).start_states == [
        {"environment": "put_on_plate", "ranges": [[3, 4], [7, 7], [12, 12]], "unknown": 1},
        {"environment": None, "ranges": [], "unknown": 4},
    ]
    held_out = Corpus([path], (), (), 0.2, 0)
    (val,) = held_out.val[0].episodes
    trained = [state for k, state in enumerate((7, 3, None, 4, 12)) if state is not None and k != val]
    (entry,) = held_out.start_states
    assert sorted(s for a, b in entry["ranges"] for s in range(a, b + 1)) == sorted(trained)
