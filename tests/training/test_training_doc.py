import sys
import types
from pathlib import Path

from world import write_dataset

from robolearn.cli.main import main
from robolearn.core.registry import Registry
from robolearn.policies import checkpoint, registry

DOC = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def test_the_policy_of_the_documentation_trains_and_loads(tmp_path, monkeypatch):
    (code,) = [block for block in DOC.read_text().split("```python\n") if "class LinearPolicy" in block]
    module = types.ModuleType("linear")
    monkeypatch.setitem(sys.modules, "linear", module)
    exec(compile(code.split("```")[0], str(DOC), "exec"), module.__dict__)
    policies = Registry("policy", {"linear": "linear:LinearPolicy"})
    for place in (registry, checkpoint):
        monkeypatch.setattr(place, "POLICIES", policies)
    run = tmp_path / "run"
    dataset = write_dataset(tmp_path / "d.zarr", episodes=3, length=12)
    options = ["--dataset", str(dataset), "--output", str(run), "--steps", "2", "--num-threads", "1"]
    assert main(["train", "linear", *options, "--policy.action-horizon", "3"]) == 0
    assert checkpoint.load_policy(run).spec.action_horizon == 3


def test_the_documentation_names_every_file_of_a_checkpoint():
    text = DOC.read_text()
    assert all(f"`{name}`" in text for name in checkpoint.FILES)
