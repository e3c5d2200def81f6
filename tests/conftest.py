"""Settings for all tests: property tests are repeatable in CI and have no deadline on a shared machine; signals are
heeded, whoever starts the tests; what needs real time is known, and what is not marked so cannot depend on it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests compute little and often beside other processes: more threads only wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# A checkout of MuJoCo Menagerie beside this repository: nothing is downloaded for a test.
os.environ.setdefault("MENAGERIE_ROOT", str(Path(__file__).resolve().parents[2] / "shared" / "data" / "menagerie"))

# In the background of a script, or under nohup, these are ignored, and the programs that tests start would inherit it.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# --- parts of the suite (tools/test.sh) ---------------------------------------------------------------------
LEFT_OUT = {"parallel": ("realtime",), "fast": ("realtime", "slow")}
MARKED = "mark it `realtime`, or let its fixture ask for `real_time`"
CELL = "robolearn.sim.realtime"
left_out: Counter[str] = Counter()  # tests that this process, or xdist's workers, did not run, by mark
running: list[pytest.Item] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=("parallel", "alone", "fast"),
        help="parallel: what needs no real time; alone: what does; fast: what needs none and is not slow",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--part") == "fast":  # fewer examples of each property
        settings.register_profile("fast", settings.get_profile("ci"), max_examples=25)
        settings.load_profile("fast")


@pytest.fixture(scope="session")
def real_time() -> None:
    """Asked for by fixtures that start something in real time (a cell, a display): makes their tests `realtime`."""


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes file systems of a size, such as "4m", to be filled."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
        if made.returncode:
            pytest.skip(f"cannot mount a tmpfs: {made.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@functools.cache
def may_need_real_time(file: Path) -> bool:
    """By the text of a test file, so that those which do not are not even imported to run what does."""
    return bool(re.search(r"real_?time", file.read_text()))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return (
        True if is_test and config.getoption("--part") == "alone" and not may_need_real_time(collection_path) else None
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    if "real_time" in getattr(item, "fixturenames", ()):
        if not may_need_real_time(item.path):
            raise pytest.UsageError(
                f"{item.nodeid} uses a fixture in real time: mark it `realtime`, so that this shows"
            )
        item.add_marker("realtime")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part = config.getoption("--part")
    if part is None:
        return
    chosen, others = [], []
    for item in items:
        mark = next((name for name in LEFT_OUT.get(part, ()) if item.get_closest_marker(name)), None)
        if part == "alone" and not item.get_closest_marker("realtime"):
            mark = "others"
        if mark:
            left_out[mark] += 1
        (others if mark else chosen).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of xdist's workers; each has collected all
        session.config.workeroutput["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    left_out.update(getattr(node, "workeroutput", {}).get("left_out", {}) if not left_out else {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--part") == "fast":
        found = f"{left_out['realtime']} tests in real time and {left_out['slow']} slow ones"
        terminalreporter.write_line(f"left out: {found}; `make test` runs them")


# --- what is not marked does not depend on real time --------------------------------------------------------
def sleeps_for_a_fixed_time(function: Callable) -> bool:
    """Whether it calls `time.sleep` anywhere but in a `while` loop, which waits for something."""
    if "sleep" not in function.__code__.co_names:
        return False
    pending: list[ast.AST] = [ast.parse(textwrap.dedent(inspect.getsource(function)))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
            return True
        pending += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.While)]
    return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    running.append(item)
    try:
        return (yield)
    finally:
        running.clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    function = getattr(item, "function", None)
    if hasattr(function, "__code__") and not item.get_closest_marker("realtime") and sleeps_for_a_fixed_time(function):
        pytest.fail(f"{item.name} sleeps for a fixed time, so it depends on real time: {MARKED}", pytrace=False)


def no_cell_unseen(event: str, arguments: tuple) -> None:
    """A simulated cell keeps real time, beside whatever runs; it disturbs others and is disturbed by them."""
    if event == "subprocess.Popen" and running and not running[0].get_closest_marker("realtime"):
        words = [arguments[1]] if isinstance(arguments[1], (str, bytes)) else arguments[1]
        if CELL in map(str, words):
            raise AssertionError(f"{running[0].name} starts a simulated cell, which runs in real time: {MARKED}")


sys.addaudithook(no_cell_unseen)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package as pip does: a module, and beside it a folder that says what the package declares.

    `install("my-lab", {"robolearn.experts": {"reach": "my_lab:Expert"}}, "class Expert: ...")` gives the folder of
    installed packages, which is on `sys.path`.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def write(package, points, code=None):
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [[f"[{group}]", *(f"{n} = {t}" for n, t in declared.items())] for group, declared in points.items()]
        (info / "entry_points.txt").write_text("\n".join(line for group in lines for line in group) + "\n")
        if code is not None:
            (site / f"{package.replace('-', '_')}.py").write_text(code)
        importlib.invalidate_caches()
        return site

    yield write
    for name, module in list(sys.modules.items()):
        # a folder without __init__.py is a module without a file; asked for any name, torch.classes has it
        places = [vars(module).get("__file__") or "", *vars(module).get("__path__", ())]
        if any(place.startswith(f"{site}{os.sep}") for place in places):
            del sys.modules[name]
