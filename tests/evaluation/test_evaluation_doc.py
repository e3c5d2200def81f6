"""The script of docs/evaluation.md is run as it is written there, but for the paths and the scene."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("torch")

import numpy as np

from robolearn.core.feature import features
from robolearn.core.normalizer import Normalizer
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.bc import BcConfig
from robolearn.policies.checkpoint import make_policy, save_policy
from robolearn.sim.registry import make_env

pytestmark = pytest.mark.slow

DOC = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
GUARD = 'if __name__ == "__main__":\n'


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The script, and an untrained policy for it."""
    folder = tmp_path_factory.mktemp("policy")
    env = make_env("avoiding")
    state, action = env.observation_features["observation.state"], env.action_feature
    contract = features([state, action])
    normalizer = Normalizer.fit({f.name: np.eye(2, *f.shape, dtype=np.float32) for f in contract.values()}, contract)
    spec = PolicySpec(features([state]), action, 1, 8, env.control_hz)
    policy = make_policy("bc", BcConfig(("observation.state",), hidden_dim=8), spec, normalizer)
    save_policy(folder / "policy", "bc", policy, policy.state_dict(), {})
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    for written, here in {
        "outputs/demo/policy": str(folder / "policy"),
        '"put_on_plate", num_episodes=20': '"avoiding", num_episodes=1, workers=1',
        "max_steps=300": "max_steps=3",
    }.items():
        assert code.count(written) == 1
        code = code.replace(written, here)
    return code


def run(code, folder):
    script = folder / "script.py"
    script.write_text(code)
    return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)


def test_the_script_of_the_documentation_runs(example, tmp_path):
    done = run(example, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Estimate(value=0.0, low=0.0, ")
    assert "n=1" in done.stdout


def test_a_script_without_the_guard_is_told_to_have_one(example, tmp_path):
    before, within = example.split(GUARD)
    done = run(before + within.replace("\n    ", "\n").removeprefix("    "), tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "An evaluation worker died at loading (exit status 1; what it printed says why" in last
    assert 'call evaluate() under `if __name__ == "__main__":`' in last
    assert "memory" not in last
