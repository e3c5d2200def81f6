"""Configurations by the name of a task: what wins over what, and that the recorded ones hold together."""

import sys
import types

import pytest
from world import write_dataset

from robolearn.cli.main import main
from robolearn.core.config import from_dict, load_yaml
from robolearn.core.errors import ConfigError
from robolearn.core.registry import Registry
from robolearn.policies.bc import BcConfig
from robolearn.policies.registry import POLICIES
from robolearn.training import presets
from robolearn.training.config import TrainConfig
from robolearn.training.presets import PRESETS, Preset


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """A task "toy" with a preset for bc, and a dataset for it."""
    module = types.ModuleType("toy_presets")
    train = {"steps": 2, "batch_size": 8, "num_threads": 1, "learning_rate": 0.5, "ema": {"power": 0.5}}
    module.PRESETS = {"bc": Preset(BcConfig(hidden_dim=8, layers=1, action_horizon=3), train)}
    monkeypatch.setitem(sys.modules, "toy_presets", module)
    monkeypatch.setattr(presets, "PRESETS", Registry("preset", {"toy": "toy_presets:PRESETS"}))
    return write_dataset(tmp_path / "d.zarr", episodes=3, length=12)


def resolved(output, *arguments):
    assert main(["train", "bc", "--output", str(output), *map(str, arguments)]) == 0
    return load_yaml(output / "config.yaml")


def test_options_win_over_a_file_over_a_preset_over_the_defaults(preset, tmp_path, capfd):
    (tmp_path / "f.yaml").write_text("batch_size: 4\nlearning_rate: 0.25\npolicy: {layers: 2}\n")
    found = resolved(tmp_path / "run", "--preset", "toy", "--dataset", preset, "--config", tmp_path / "f.yaml",
                     "--learning-rate", "0.125")  # fmt: skip
    assert (found["steps"], found["batch_size"], found["learning_rate"]) == (2, 4, 0.125)
    assert found["ema"]["power"] == 0.5 and found["ema"]["max_decay"] == 0.9999
    assert (found["policy"]["hidden_dim"], found["policy"]["layers"], found["policy"]["action_horizon"]) == (8, 2, 3)
    assert "hidden_dim: 8" in capfd.readouterr().out, "the resolved configuration is printed"


def test_what_a_preset_resolved_to_can_be_given_back(preset, tmp_path):
    one = resolved(tmp_path / "one", "--preset=toy", "--dataset", preset)
    two = resolved(tmp_path / "two", "--config", tmp_path / "one" / "config.yaml")
    assert two == {**one, "output": str(tmp_path / "two")}


def test_names_without_a_preset_list_those_that_have_one(preset, capfd):
    assert main(["train", "bc", "--preset", "toi"]) == 2
    assert "Unknown preset 'toi'. Did you mean 'toy'?" in capfd.readouterr().err
    assert main(["train", "beso", "--preset", "toy"]) == 2
    assert "Preset 'toy' is for the policies bc; it has none for 'beso'." in capfd.readouterr().err
    assert main(["train", "bc", "--preset"]) == 2
    assert "--preset needs the name of a task after it." in capfd.readouterr().err


def test_a_preset_of_a_package_is_found_by_its_name(install):
    code = (
        "from robolearn.policies.bc import BcConfig\n"
        "from robolearn.training.presets import Preset\n"
        "PRESETS = {'bc': Preset(BcConfig(hidden_dim=8), {'steps': 2})}\n"
        "WRONG = {'bc': {'steps': 2}}\n"
    )
    install("a-lab", {"robolearn.presets": {"mine": "a_lab:PRESETS", "wrong": "a_lab:WRONG"}}, code)
    found = presets.load_preset("mine", "bc")
    assert (found.policy.hidden_dim, found.train) == (8, {"steps": 2})
    with pytest.raises(ConfigError, match=r"'wrong' \(a_lab:WRONG\) is not of the form {policy: Preset}"):
        presets.load_preset("wrong", "bc")


@pytest.mark.parametrize("task", PRESETS)
def test_recorded_presets_fit_their_policies_and_the_trainer(task):
    for name, found in PRESETS.resolve(task).items():
        assert type(found.policy) is POLICIES.resolve(name).Config
        from_dict(TrainConfig, {"dataset": "d.zarr", "output": "run", **found.train})
