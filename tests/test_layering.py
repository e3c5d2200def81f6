"""Who may import whom: downwards only, and never torch below the policies (see docs and the tables here)."""

import ast
import functools
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "robolearn"

TOP = {"teleop", "training", "evaluation", "serving", "control"}
MAY_IMPORT = {
    "core": {"core"},
    "datasets": {"datasets", "core"},
    "hardware": {"hardware", "datasets", "core"},
    "sim": {"sim", "datasets", "core"},
    "policies": {"policies", "datasets", "core"},
    **{part: TOP | {"policies", "sim", "hardware", "datasets", "core"} for part in TOP},
    "cli": TOP | {"cli", "policies", "sim", "hardware", "datasets", "core"},
}
WITHOUT_TORCH = ("core", "datasets", "hardware", "teleop", "control", "serving/client")


def source_files(part: str) -> list[Path]:
    path = PACKAGE / part
    if path.is_dir():
        # resolved, because the parts that are symlinks to top-level folders would not be entered
        return sorted(PACKAGE / part / file.relative_to(path.resolve()) for file in path.resolve().rglob("*.py"))
    return [path.with_suffix(".py")]


def module_name(file: Path) -> str:
    parts = ("robolearn", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imported_modules(file: Path) -> tuple[str, ...]:
    """Absolute names of everything a file imports, also inside functions."""
    found: list[str] = []
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(file.read_text(), filename=str(file))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found.append(origin)
            if origin == "robolearn":
                found += [f"robolearn.{alias.name}" for alias in node.names]
    return tuple(found)


def test_every_part_has_a_place_in_the_order():
    found = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_downwards(part):
    wrong = []
    for file in source_files(part):
        for name in imported_modules(file):
            root, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if root == "robolearn" and target in MAY_IMPORT and target not in MAY_IMPORT[part]:
                wrong.append(f"{module_name(file)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["hardware", "sim", "datasets"])
def test_nothing_is_imported_by_the_name_of_a_top_level_folder(folder):
    """`import datasets` would be Hugging Face's package, or nothing, in an installed wheel."""
    files = [file for part in MAY_IMPORT for file in source_files(part)]
    assert not [str(f) for f in files if any(name.split(".")[0] == folder for name in imported_modules(f))]


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_no_torch_comes_along(part):
    modules = [module_name(file) for file in source_files(part)]
    program = f"""
        import importlib, sys
        for name in {modules!r}:
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
