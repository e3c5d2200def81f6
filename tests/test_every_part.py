"""Every module, every scene with its expert, every format: whatever is registered, tests/newest.txt has it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import robolearn
from robolearn.core.errors import RobolearnError
from robolearn.datasets.convert.export.registry import EXPORTERS
from robolearn.datasets.convert.registry import CONVERTERS
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.sim.env import SimEnv
from robolearn.sim.experts import EXPERTS
from robolearn.sim.experts.protocol import ActionExpert, Expert
from robolearn.sim.registry import ENVIRONMENTS, make_env

ROOT = Path(__file__).resolve().parents[1]
NEWEST = ROOT / "tests" / "newest.txt"
# tests that must be among the selected ones for every codec, importer and exporter to be run
OF_CODECS = "tests/datasets/format/test_codecs.py"
OF_IMPORTERS = "tests/datasets/convert/test_check.py"
OF_EXPORTERS = "tests/datasets/convert/export/test_round_trip.py"


def selected() -> list[str]:
    return [line for line in NEWEST.read_text().splitlines() if line.startswith("tests/")]


def test_what_is_selected_for_the_newest_versions_exists():
    missing = [path for path in selected() if not (ROOT / path).exists()]
    assert not missing, f"{NEWEST} lists what is not there: {', '.join(missing)}"


def test_the_selection_runs_every_codec_importer_and_exporter():
    paths = [ROOT / path for path in selected()]
    for file in (__file__, OF_CODECS, OF_IMPORTERS, OF_EXPORTERS):
        assert any((ROOT / file).is_relative_to(path) for path in paths), f"{file} is in no line of {NEWEST}"
    codecs = {codec.__name__ for codec in ImageCodec.__subclasses__() if codec.__module__.startswith("robolearn.")}
    assert not [name for name in sorted(codecs) if name not in (ROOT / OF_CODECS).read_text()]
    routes = (ROOT / OF_EXPORTERS).read_text()
    assert not [name for name in EXPORTERS if f'("{name}", ' not in routes]
    sources = (ROOT / "tests/datasets/toy_sources.py").read_text()
    without_simulator = [name for name in CONVERTERS if name != "robosuite_hdf5"]
    assert not [name for name in without_simulator if f'"{name}": ' not in sources]


def test_every_module_is_imported():
    names = [module.name for module in pkgutil.walk_packages(robolearn.__path__, "robolearn.")]
    assert len(names) > 200
    for name in names:
        if name != "robolearn.__main__":
            importlib.import_module(name)


def action_of(expert: Expert | ActionExpert | None, env: SimEnv, observation: dict[str, np.ndarray]) -> np.ndarray:
    """What the expert wants; its next waypoint at once where it is one of an operator; where there is none, to stay."""
    if expert is None:
        return observation["observation.state"][: env.action_feature.shape[0]]
    if isinstance(expert, ActionExpert):
        action = expert.action(observation)
        assert action is not None
        return action
    waypoint = expert.waypoint(observation)
    assert waypoint is not None
    return np.concatenate([waypoint.position_m, waypoint.rotation[:2].ravel(), [waypoint.gripper]])


# tests that were imported before may have registered more
OURS = {name for table in (EXPERTS, ENVIRONMENTS) for name in table if table[name].startswith("robolearn.")}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OURS - {"hand_over", "robosuite"}))
def test_every_scene_is_stepped_by_its_expert(name, monkeypatch):
    if name.startswith("robosuite/") and importlib.util.find_spec("robosuite") is None:
        pytest.skip("robosuite is not installed")
    if "MENAGERIE_ROOT" not in os.environ:
        monkeypatch.setenv("MENAGERIE_ROOT", str(ROOT.parent / "shared/data/menagerie"))
    try:
        env = make_env(name)
    except RobolearnError as error:
        if "MENAGERIE_ROOT" not in str(error):
            raise
        pytest.skip(f"no robot's files here: {error}")
    expert = EXPERTS.resolve(name)() if name in EXPERTS else None
    before, _ = env.reset(options={"init_state": env.evaluation_start})
    if isinstance(expert, ActionExpert):
        expert.start_episode(env.evaluation_start)
    elif expert is not None:
        expert.start_episode()
    observation = before
    for _ in range(10):
        observation, _, terminated, truncated, _ = env.step(action_of(expert, env, observation))
        assert not terminated and not truncated
    env.close()
    assert all(np.isfinite(value).all() for value in observation.values())
    assert expert is None or not np.array_equal(observation["observation.state"], before["observation.state"])
