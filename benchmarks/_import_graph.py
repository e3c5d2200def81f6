"""Who imports whom in this package, read from its files, and who may: parts and rooms point downwards only.

docs/architecture.md draws the same order; tests/test_layering.py holds it, house.py counts what breaks it.
"""

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "robolearn"

MIDDLE = {"execution", "datasets", "kinematics", "core"}
MAY_IMPORT = {  # parts, or single rooms and modules of them
    "core": set(),
    "kinematics": {"core"},
    "datasets": {"kinematics", "core"},
    "execution": {"datasets", "kinematics", "core"},
    "hardware": MIDDLE,
    "sim": MIDDLE,
    "policies": MIDDLE,
    "training": {"policies", *MIDDLE},
    "evaluation": {"training.config", "training.metrics", "policies.checkpoint", "sim", *MIDDLE},
    "serving": MIDDLE,
    "control": {"serving.client", "evaluation.statistics", "hardware", *MIDDLE},
    "teleop": {"control", "hardware", "sim", *MIDDLE},
    "cli": {"teleop", "control", "serving", "evaluation", "training", "policies", "sim", "hardware", *MIDDLE},
}
ROOMS = {
    "datasets": {
        "format": set(),
        "read": {"format"},
        "write": {"read", "format"},
        "loader": {"read", "format"},
        "view": {"write", "read", "format"},
        "convert": {"write", "read", "format"},
        "checks": {"convert", "write", "read", "format"},
        "repair": {"checks", "write", "read", "format"},
        "tools": {"repair", "convert", "write", "read", "format"},
    },
    "sim": {
        "": {"registry"},
        "coarse_meshes": set(),
        "env": set(),
        "rendering": {"coarse_meshes"},
        "health": {"rendering"},
        "robots": set(),
        "observables": {"robots", "rendering"},
        "engine": {"observables", "robots", "env"},
        "worlds": {"engine", "robots"},
        "tasks": {"worlds", "engine", "observables"},
        "experts": {"tasks", "worlds"},
        "adapters": {"rendering", "env"},
        "registry": {"engine", "rendering", "env"},
        "realtime": {"registry", "env"},
    },
    "evaluation": {"statistics": set(), "run": {"statistics"}, "pages": {"run", "statistics"}},
}


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
def modules() -> dict[str, Path]:
    """Every module of the package, those in the symlinked folders too."""
    own = [PACKAGE / "__init__.py", PACKAGE / "__main__.py"]
    return {module_name(file): file for part in MAY_IMPORT for file in source_files(part)} | {
        module_name(file): file for file in own
    }


@functools.cache
def imported_names(file: Path) -> tuple[str, ...]:
    """Absolute names of everything a file imports, also inside functions and for type checkers only.

    `from a import b` gives `a` and `a.b`: `b` may be a module.
    """
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
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return tuple(found)


@functools.cache
def import_graph() -> dict[str, frozenset[str]]:
    """Module -> modules of ours that it imports. A package's `__init__` counts where a name is taken from it."""
    graph = {}
    for name, file in modules().items():
        found = set()
        for imported in imported_names(file):
            if imported in modules():
                found.add(imported)
        # `from package import module` needs the module, not what the package's own file imports
        parents = {module.rpartition(".")[0] for module in found}
        taken = {module for module in found if module not in parents or takes_from(file, module)}
        graph[name] = frozenset(taken - {name})
    return graph


def takes_from(file: Path, package: str) -> bool:
    """Whether a name that is no module is imported from the package."""
    names = [n for n in imported_names(file) if n.startswith(f"{package}.") and "." not in n[len(package) + 1 :]]
    return any(name not in modules() for name in names)


def circles(graph: dict[str, frozenset[str]]) -> list[list[str]]:
    """The groups of modules that import one another, directly or not."""
    below = {name: _reached(graph, name) for name in graph}
    groups = {frozenset([name, *(m for m in below[name] if name in below[m])]) for name in graph if name in below[name]}
    return sorted(map(sorted, groups))


def _reached(graph: dict[str, frozenset[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def upward_arrows() -> list[str]:
    """Imports that neither the order of the parts nor that of the rooms in a part allows."""
    wrong = []
    for name, imported in import_graph().items():
        part, room = place(name)
        for target in imported:
            other, other_room = place(target)
            between_parts = part in MAY_IMPORT and other in MAY_IMPORT and other != part
            if between_parts and MAY_IMPORT[part].isdisjoint((other, f"{other}.{other_room}")):
                wrong.append(f"{name} imports {target}")
            if part == other and part in ROOMS and room != other_room and other_room not in ROOMS[part].get(room, ()):
                wrong.append(f"{name} imports {target}")
    return wrong


def place(module: str) -> tuple[str, str]:
    """Part and room of a module: `robolearn.datasets.read.store` is in the room read of datasets."""
    parts = [*module.split("."), "", ""]
    return parts[1], parts[2]
