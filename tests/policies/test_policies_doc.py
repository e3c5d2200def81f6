"""The loop of docs/policies.md is run as it is written there, but for the paths, the scene and fewer steps."""

import re
from pathlib import Path

import pytest

pytest.importorskip("mujoco")

from robolearn.policies.beso import BesoConfig
from robolearn.teleop.demonstrations import record_demonstrations
from robolearn.training.config import TrainConfig
from robolearn.training.trainer import train

DOC = Path(__file__).resolve().parents[2] / "docs" / "policies.md"


@pytest.fixture(scope="module")
def examples():
    """The loop, and what it begins with where there is a goal."""
    section = DOC.read_text().partition("## Acting from Python\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Demonstrations of a scene that takes goals, and a tiny policy trained on them."""
    folder = tmp_path_factory.mktemp("world")
    record_demonstrations("block_push", 2, folder / "demos.zarr")
    policy = BesoConfig(
        obs_horizon=2, action_horizon=10, goals=("observation.environment_state",), goal_horizon=3, embed_dim=16,
        layers=1, heads=2,
    )  # fmt: skip
    config = TrainConfig(folder / "demos.zarr", folder / "run", steps=2, batch_size=8, num_threads=1)
    train(config, "beso", policy, quiet=True)
    return folder


def run(code, world, *changes):
    """Runs the loop and returns its names. What is written there is replaced once each."""
    for written, here in (("outputs/pusht-beso", str(world / "run")), ('"pusht"', '"block_push"'),
                          ("range(env.max_steps)", "range(9)"), *changes):  # fmt: skip
        assert code.count(written) == 1
        code = code.replace(written, here)
    names = {}
    exec(compile(code, str(DOC), "exec"), names)
    return names


def test_the_loop_acts_with_other_sampling(examples, world, capsys):
    names = run(examples[0], world)
    policy = names["policy"]
    assert policy.config.sampling_steps == 10
    assert names["step"] == 8
    assert {name: window.shape for name, window in names["history"].window().items()} == {
        name: (2, *feature.shape) for name, feature in policy.spec.observation_features.items()
    }
    assert names["chunk"].shape == (10, *policy.spec.action_feature.shape)
    assert names["chunk"].dtype == "float32"
    assert names["executed"].window().shape == (1, *policy.spec.action_feature.shape)
    assert capsys.readouterr().out == "False 0.0\n"


def test_the_generator_decides_what_happens(examples, world):
    first, again = (run(examples[0], world)["chunk"] for _ in range(2))
    assert first.tolist() == again.tolist()
    other = run(examples[0], world, ("manual_seed(0)", "manual_seed(1)"))["chunk"]
    assert first.tolist() != other.tolist()


def test_the_end_of_a_demonstration_is_a_goal(examples, world):
    loop, begin = examples
    begin = begin.replace("demos.zarr", str(world / "demos.zarr"))
    without = begin.replace("policy.spec).goal(0)", "policy.spec).goal(0) and None")
    reset = 'observation, info = env.reset(options={"init_state": 100000})\n'
    names, others = (run(loop, world, (reset, text)) for text in (begin, without))
    assert {name: goal.shape for name, goal in names["goal"].items()} == {"observation.environment_state": (3, 4)}
    assert others["goal"] is None
    assert names["chunk"].tolist() != others["chunk"].tolist()
