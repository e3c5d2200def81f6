"""Numbers far from 0, scalars and other dtypes on their whole way: dataset, training, checkpoint, acting, serving."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from world import run_config

from robolearn.core.feature import Feature, features
from robolearn.datasets.loader import Loader, WindowSpec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.execution.chunk import predicted_actions
from robolearn.policies.bc import BcConfig
from robolearn.policies.beso import BesoConfig
from robolearn.policies.checkpoint import load_policy
from robolearn.serving import wire
from robolearn.serving.session import Session
from robolearn.training.trainer import Trainer

pytestmark = pytest.mark.slow

NORTHING, UNIX, COUNTS = 4.5e6, 1.7e9, 2**40
STATE = Feature("observation.state", (2,), "float64", names=("northing", "unix"))
ENCODER = Feature("observation.encoder", (1,), "int64")
ACTION = Feature("action", (1,), "float64", kind="action", names=("northing",))
BC = BcConfig(("observation.state", "observation.encoder"), action_horizon=1, hidden_dim=32, layers=1)


def write(path: Path, declared: list[Feature], rows: dict[str, np.ndarray], episodes: int = 4) -> Path:
    steps = len(next(iter(rows.values()))) // episodes
    with DatasetWriter.create(path, features(declared), 10.0) as writer:
        for episode in range(episodes):
            writer.start_episode()
            for step in range(steps):
                values = {
                    n: np.asarray(r[episode * steps + step], declared_dtype(declared, n)) for n, r in rows.items()
                }
                writer.append(step / 10.0, values)
            writer.commit({"task": "test", "success": True})
    return path


def declared_dtype(declared: list[Feature], name: str) -> str:
    return features(declared)[name].dtype


def far_rows(n: int = 160) -> dict[str, np.ndarray]:
    """The action follows what moves: a half metre of northing, 16 ticks of the encoder."""
    u, v = np.random.default_rng(0).uniform(-1, 1, (2, n))
    counts = COUNTS + np.round(16 * v).astype(np.int64)
    return {
        "observation.state": np.stack([NORTHING + 0.5 * u, UNIX + np.arange(n) / 10], axis=1),
        "observation.encoder": counts[:, None],
        "action": (NORTHING + 0.25 * u + 0.25 * (counts - COUNTS) / 16)[:, None],
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write(tmp_path_factory.mktemp("far") / "d.zarr", [STATE, ENCODER, ACTION], far_rows())


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    config = run_config(dataset, tmp_path_factory.mktemp("run") / "bc", steps=300, batch_size=64, checkpoint_every=300)
    trainer = Trainer(replace(config, learning_rate=1e-2), "bc", BC, quiet=True)
    trainer.run()
    return trainer


def asked(rows: dict[str, np.ndarray], k: int) -> dict[str, np.ndarray]:
    return {name: rows[name][k : k + 1] for name in BC.observations}


def test_what_moves_far_from_zero_is_learnt_and_answered_in_double_precision(trained):
    policy, rows = load_policy(trained.config.output), far_rows()
    chunks = [policy.predict_chunk(asked(rows, k)) for k in range(100)]
    assert {chunk.dtype for chunk in chunks} == {np.dtype("float64")}
    error = np.array(chunks)[:, 0] - rows["action"][:100]
    assert np.sqrt(np.mean(error**2)) < 0.05  # float32 has steps of 0.5 here; the actions themselves vary by 0.2


def test_a_server_and_a_rollout_pass_such_actions_on_as_they_are(trained):
    policy, rows = load_policy(trained.config.output), far_rows()
    chunk = policy.predict_chunk(asked(rows, 3))
    answer = Session(policy, None, 0).infer({name: rows[name][3] for name in BC.observations})["actions"]
    assert (answer == chunk).all()
    assert (predicted_actions(chunk, policy.spec) == chunk).all()


def test_executed_actions_far_from_zero_reach_the_policy(dataset, tmp_path):
    config = BesoConfig(BC.observations, obs_horizon=2, action_horizon=1, embed_dim=16, layers=1, heads=2)
    policy = Trainer(run_config(dataset, tmp_path / "run"), "beso", config, quiet=True).policy
    executed = policy._executed(np.array([[NORTHING + 0.3]]), policy._action_scale.device)
    low, high = (f(far_rows()["action"]) for f in (np.min, np.max))
    expected = 2 * (NORTHING + 0.3 - low) / (high - low) - 1
    assert policy.actions(executed).item() == pytest.approx(expected, abs=1e-6)


def test_the_validation_error_is_that_of_what_moves(trained):
    assert 0.001 < trained._validate()["action_error"] < 0.1


def test_a_resumed_run_keeps_the_normaliser_it_began_with(trained, tmp_path):
    config = replace(trained.config, resume=True, steps=301)
    resumed = Trainer(config, "bc", BC, quiet=True).policy.normalizer
    for part in ("scale", "offset", "shift"):
        for name, value in getattr(trained.policy.normalizer, part).items():
            assert (getattr(resumed, part)[name] == value).all()


def test_a_loader_subtracts_before_it_casts(dataset):
    shift = {"observation.state": np.array([NORTHING, UNIX])}
    windows = WindowSpec({"observation.state": (0,)})
    with Loader(Dataset(dataset), windows, 40, shifts=shift) as loader:
        found = np.concatenate([batch["observation.state"][:, 0] for batch in loader.all()])
        expected = (far_rows()["observation.state"] - shift["observation.state"]).astype(np.float32)
        assert found.dtype == np.float32 and (found == expected).all()


KINDS = [
    Feature("observation.scalar", ()),
    Feature("observation.matrix", (2, 3)),
    Feature("observation.bool", (2,), "bool"),
    Feature("observation.uint64", (1,), "uint64"),
    Feature("observation.float16", (2,), "float16"),
    Feature("observation.int8", (), "int8"),
]


def test_observations_of_every_shape_and_dtype_train_and_act(tmp_path):
    rng, action = np.random.default_rng(0), Feature("action", (2,), kind="action")
    rows = {feature.name: rng.integers(0, 2, (24, *feature.shape)) for feature in KINDS}
    path = write(tmp_path / "d.zarr", [*KINDS, action], {**rows, "action": rng.normal(size=(24, 2))})
    config = replace(BC, observations=tuple(rows))
    trainer = Trainer(run_config(path, tmp_path / "run", steps=2), "bc", config, quiet=True)
    assert trainer.run().val_loss is not None
    policy = load_policy(tmp_path / "run")
    windows = {feature.name: np.asarray(rows[feature.name][:1], feature.dtype) for feature in KINDS}
    assert policy.predict_chunk(windows).shape == (1, 2)
    samples = {name: window[0] for name, window in windows.items()}
    assert Session(policy, None, 0).infer(samples)["actions"].shape == (1, 2)


BC_CHUNKS = BcConfig(("observation.state",), 2, 3, hidden_dim=8, layers=1)
BESO_CHUNKS = BesoConfig(("observation.state",), 2, 3, embed_dim=8, layers=1, heads=2)


@pytest.mark.parametrize(
    ("name", "config", "shape", "dtype"),
    [
        ("bc", BC_CHUNKS, (), "float32"),
        ("beso", BESO_CHUNKS, (), "float16"),
        ("bc", BC_CHUNKS, (2, 2), "int64"),
        ("beso", BESO_CHUNKS, (1,), "bool"),
    ],
)
def test_actions_are_answered_in_their_own_shape_and_dtype(name, config, shape, dtype, tmp_path):
    rng = np.random.default_rng(0)
    declared = [Feature("observation.state", (2,)), Feature("action", shape, dtype, kind="action")]
    rows = {"observation.state": rng.normal(size=(24, 2)), "action": rng.integers(0, 2, (24, *shape))}
    path = write(tmp_path / "d.zarr", declared, rows)
    Trainer(run_config(path, tmp_path / "run", steps=2), name, config, quiet=True).run()
    policy = load_policy(tmp_path / "run")
    window = {"observation.state": rows["observation.state"][:2].astype(np.float32)}
    chunk = policy.predict_chunk(window, executed=np.zeros((1, *shape), dtype))
    assert chunk.shape == (3, *shape) and chunk.dtype == ("float32" if dtype == "float16" else dtype)
    answer = Session(policy, None, 0).infer({**window, wire.EXECUTED: np.zeros((1, *shape), "float32")})["actions"]
    assert answer.shape == chunk.shape and answer.dtype == chunk.dtype
    assert predicted_actions(chunk, policy.spec).dtype == chunk.dtype


def test_an_action_element_that_every_demonstration_held_is_answered_exactly_so(tmp_path):
    rng, state = np.random.default_rng(0), Feature("observation.state", (2,))
    action = Feature("action", (3,), "float64", kind="action", names=("northing", "gripper", "z"))
    moves = rng.normal(size=24)
    held = {"northing": np.full(24, NORTHING + 0.1), "gripper": np.full(24, 0.1)}
    rows = {"observation.state": rng.normal(size=(24, 2)), "action": np.stack([*held.values(), moves], axis=1)}
    path = write(tmp_path / "d.zarr", [state, action], rows)
    Trainer(run_config(path, tmp_path / "run", steps=2), "beso", BESO_CHUNKS, quiet=True).run()
    chunk = load_policy(tmp_path / "run").predict_chunk({"observation.state": rng.normal(size=(2, 2))})
    assert (chunk[:, :2] == [NORTHING + 0.1, 0.1]).all()
    assert (chunk[:, 2] != chunk[0, 2]).any()
