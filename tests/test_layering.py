"""Who may import whom: downwards only, never in a circle, and never torch below the policies (docs/architecture.md)."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _import_graph import (
    MAY_IMPORT,
    MIDDLE,
    PACKAGE,
    ROOMS,
    circles,
    import_graph,
    imported_names,
    module_name,
    modules,
    place,
    source_files,
    upward_arrows,
)

WITHOUT_TORCH = ("core", "kinematics", "datasets", "execution", "hardware", "teleop", "control", "serving/client")


def test_every_part_has_a_place_in_the_order():
    found = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize("part", ROOMS)
def test_every_room_has_a_place_in_the_order(part):
    """Nothing stands outside the rooms but modules that are named beside them."""
    folder = (PACKAGE / part).resolve()
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert {file.parent.name for file in folder.glob("*/__init__.py")} | modules == set(ROOMS[part]) - {""}


@pytest.mark.parametrize("order", [MAY_IMPORT, *ROOMS.values()])
def test_the_order_itself_has_no_circle(order):
    assert circles({name: frozenset(n.partition(".")[0] for n in below) for name, below in order.items()}) == []


@pytest.mark.parametrize("part", ["training", "evaluation", "serving", "control", "teleop"])
def test_no_arrow_from_the_second_tier_is_drawn_that_nothing_needs(part):
    """Those to what stands below all of it are free."""
    arrows = ((place(name)[0], place(target)) for name, found in import_graph().items() for target in found)
    reached = [to for origin, to in arrows if origin == part]
    needed = {other for other, _ in reached} | {f"{other}.{room}" for other, room in reached}
    assert MAY_IMPORT[part] - MIDDLE <= needed


def test_imports_point_downwards():
    wrong = upward_arrows()
    assert not wrong, "\n".join(wrong)


def test_no_importer_of_a_format_knows_an_exporter():
    export = "robolearn.datasets.convert.export"
    outside = {name for name in import_graph() if name.startswith("robolearn.datasets.convert.")}
    outside -= {name for name in outside if name.startswith(export)}
    wrong = [f"{name} imports {t}" for name in outside for t in import_graph()[name] if t.startswith(export)]
    assert outside and not wrong, "\n".join(wrong)


def test_no_modules_import_one_another():
    found = circles(import_graph())
    assert not found, "\n".join(" <-> ".join(group) for group in found)


def test_the_graph_is_the_real_one():
    """An arrow of each kind: into a symlinked folder, inside a function, for type checkers only, from a package."""
    graph = import_graph()
    assert "robolearn.datasets.format.layout" in graph["robolearn.datasets.read.reader"]
    assert "robolearn.datasets.write.recorder" in graph["robolearn.teleop.streaming"]
    assert "robolearn.datasets.checks.run" in graph["robolearn.datasets.checks"]
    assert sum(map(len, graph.values())) > 1500 and len(graph) > 350
    looped = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("bd"), "d": frozenset()}
    assert circles(looped) == [["b", "c"]]


@pytest.mark.parametrize("folder", ["hardware", "sim", "datasets"])
def test_nothing_is_imported_by_the_name_of_a_top_level_folder(folder):
    """`import datasets` would be Hugging Face's package, or nothing, in an installed wheel."""
    assert not [str(f) for f in modules().values() if any(n.split(".")[0] == folder for n in imported_names(f))]


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_no_torch_comes_along(part):
    names = [module_name(file) for file in source_files(part)]
    program = f"""
        import importlib, sys
        for name in {names!r}:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name.startswith("robolearn"):
                    raise
            if "torch" in sys.modules:
                sys.exit(f"importing {{name}} imports torch")
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
