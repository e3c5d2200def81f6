"""What docs/training.md says is run here as it is written there."""

import configparser
import re
import sys
from pathlib import Path

import pytest
import torch
from world import BC, FEATURES, run_config, write_dataset

from robolearn.cli.main import main
from robolearn.core.errors import CheckpointError
from robolearn.policies import checkpoint
from robolearn.policies.bc import BcPolicy
from robolearn.training.trainer import train

DOC = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def block(language, containing):
    """The one block of the document in a language that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return found


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "d.zarr", episodes=3, length=16)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Where the package of the documentation is installed, as pip does it from its pyproject.toml."""
    folder = tmp_path / "site"
    info = folder / "linear-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "linear.py").write_text(block("python", "class LinearPolicy"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: linear\nVersion: 1.0\n")
    project = configparser.ConfigParser()  # such lines are ini as well as toml
    project.read_string(block("toml", "entry-points"))
    (section,) = project.sections()
    group = section.removeprefix("project.entry-points.").strip('"')
    points = "".join(f"{name} = {target[1:-1]}\n" for name, target in project[section].items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("linear", None)


def test_the_python_example_trains_the_preset(dataset, tmp_path):
    code = block("python", "load_preset")
    for written, here in {
        "outputs/pusht.zarr": dataset,
        "outputs/pusht-beso": tmp_path / "run",
        "**preset.train": '**{**preset.train, "steps": 2, "batch_size": 8}',
    }.items():
        assert code.count(written) == 1
        code = code.replace(written, str(here))
    exec(compile(code, str(DOC), "exec"), {})
    assert checkpoint.load_provenance(tmp_path / "run")["step"] == 2


def test_the_policy_of_another_package_trains_and_loads(site, dataset, tmp_path, capfd):
    run = tmp_path / "run"
    options = ["--dataset", str(dataset), "--output", str(run), "--steps", "2", "--num-threads", "1"]
    assert main(["train", "linear", *options, "--policy.action-horizon", "3"]) == 0
    assert checkpoint.load_policy(run).spec.action_horizon == 3
    capfd.readouterr()
    assert main(["train", "--help"]) == 0
    assert "bc, bc_rnn, bc_transformer, beso, diffusion, vq_bet, linear\n" in capfd.readouterr().out
    assert main(["train", "liner"]) == 2
    assert "Unknown policy 'liner'. Did you mean 'linear'?" in capfd.readouterr().err


def test_a_checkpoint_of_a_package_that_is_not_installed_says_so(site, dataset, tmp_path, monkeypatch):
    run = tmp_path / "run"
    options = ["--dataset", str(dataset), "--output", str(run), "--steps", "2", "--num-threads", "1"]
    assert main(["train", "linear", *options]) == 0
    monkeypatch.setattr("sys.path", [place for place in sys.path if place != str(site)])
    with pytest.raises(CheckpointError, match=r"Unknown policy 'linear'.*install the package that declares it"):
        checkpoint.load_policy(run)


def test_what_a_policy_is_given_is_what_the_documentation_says(dataset, tmp_path, monkeypatch):
    seen = {True: [], False: []}

    def loss(self, batch, noise):
        seen[self.training].append({name: value.shape[1:] for name, value in batch.items()})
        assert batch["observation.state"].dtype == torch.float32
        context = self.context(batch)
        rows = len(batch["action"])
        assert context.observation.shape == (rows, 2, 5)
        assert context.goal.shape == (rows, 4, 2)
        assert context.executed.shape == (rows, 1, 2)
        assert torch.equal(context.known, ~batch["action.is_pad"][:, :1])
        assert self.actions(batch).shape == (rows, 4, 2)
        assert torch.equal(self.future(batch), self.actions(batch)[:, 1:])
        assert torch.is_grad_enabled() == self.training
        assert noise.normal((rows, 3), context.observation).shape == (rows, 3)
        return original(self, batch, noise)

    original = BcPolicy.loss
    monkeypatch.setattr(BcPolicy, "loss", loss)
    goals = {"goals": ("observation.environment_state",), "goal_horizon": 4}
    policy = type(BC)(**{**BC.__dict__, "obs_horizon": 2, "action_horizon": 3, **goals})
    train(run_config(dataset, tmp_path / "run", steps=1), "bc", policy, quiet=True)
    expected = {
        "observation.state": (2, *FEATURES["observation.state"].shape),
        "observation.environment_state": (2, *FEATURES["observation.environment_state"].shape),
        "goal.observation.environment_state": (4, *FEATURES["observation.environment_state"].shape),
        "action": (4, *FEATURES["action"].shape),
        "action.is_pad": (4,),
    }
    for batches in seen.values():  # of training, of validation
        assert batches
        assert all(batch == expected for batch in batches)


def test_the_documentation_names_every_file_of_a_checkpoint():
    text = DOC.read_text()
    assert all(f"`{name}`" in text for name in checkpoint.FILES)
