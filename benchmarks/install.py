"""Whether the pins can be installed: the newest set from nothing, with its tests, and wheels for other Pythons.

    python benchmarks/install.py                      in a copy of what is committed: a quarter of an hour, 3 GB in /tmp
    python benchmarks/install.py --python /path/to/python3.13    the newest set under another interpreter, and no more
    python benchmarks/install.py --quick              resolves the newest set and installs nothing

Nothing is taken from pip's cache or from that of robot models, so it needs the package index.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from robolearn.core.errors import ConfigError, RobolearnError
from robolearn.core.provenance import git_revision
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
SETS = {"robosuite": "constraints.txt", "newest": "constraints-newest.txt"}
OTHER_PYTHONS = ("3.12", "3.13")
HOME_PYTHON = "3.11"
_NO_WHEEL = re.compile(r"No matching distribution found for (\S+?)==")
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?)\b")
_PIP = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--dry-run")
COMMAND = "python benchmarks/install.py"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="resolve the newest set, install nothing")
    parser.add_argument("--python", type=Path, help="interpreter to install the newest set under, and to test it with")
    options = parser.parse_args(argv)
    try:
        if options.quick:
            figures = [resolved()]
        elif options.python is not None:
            figures = [installed(options.python)]
        else:
            figures = [*wheels(), installed(None)]
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_figures(results_file("install", options.quick), figures)
    return 0 if all(figure.value == 1 for figure in figures if ".wheels." not in figure.id) else 1


def pins(file: str) -> list[str]:
    return [line for line in (REPOSITORY / file).read_text().splitlines() if line and not line.startswith("#")]


def extras(file: str) -> str:
    """What `tools/bootstrap.sh` installs with these pins: `.[all,dev]`."""
    return re.findall(rf"-c {re.escape(file)} -e '(.+)'", (REPOSITORY / file).read_text())[0]


def resolved() -> Figure:
    """Whether one choice of versions meets all requirements: ours, those of our extras and those of every package."""
    file = SETS["newest"]
    start = time.monotonic()
    arguments = ("--ignore-installed", "--no-build-isolation", "-c", file, extras(file))
    done = subprocess.run([*_PIP, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        print(_errors(done.stderr), file=sys.stderr)
    config = {"form": "resolved, not installed", "pins": len(pins(file)), "seconds": _since(start)}
    print(f"{file}: {'resolves' if done.returncode == 0 else 'does not resolve'} in {config['seconds']} s", flush=True)
    return Figure("install.newest_resolves", float(done.returncode == 0), "1", 1, f"{COMMAND} --quick", config=config)


# --- wheels for other Pythons -------------------------------------------------------------------------------
def wheels() -> list[Figure]:
    """Share of each set's pins that has a wheel, one figure a set and version of Python."""
    with ThreadPoolExecutor() as pool:  # pip waits for the index
        return list(pool.map(wheels_of, *zip(*itertools.product(SETS, OTHER_PYTHONS), strict=True)))


def wheels_of(name: str, version: str) -> Figure:
    file, start = SETS[name], time.monotonic()
    count, missing = with_wheels(pins(file), version)
    total = count + len(missing)
    print(f"Python {version}, {file}: wheels for {count} of {total} pins; none for {missing}", flush=True)
    config = {
        "constraints": file, "python": version, "pins": total, "without_wheel": missing, "seconds": _since(start),
    }  # fmt: skip
    notes = "for this machine's kind of system; resolved with pip, --only-binary=:all:, not installed"
    figure_id = f"install.wheels.{name}.python{version.replace('.', '')}"
    return Figure(figure_id, count / total, "1", total, COMMAND, config=config, notes=notes)


def with_wheels(requirements: list[str], version: str) -> tuple[int, list[str]]:
    """How many of the pins have a wheel for this Python, and the names of those that have none.

    Raises ConfigError when pip fails for another reason.
    """
    left, missing = list(requirements), list[str]()
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "pins.txt"
        while True:
            listed.write_text("\n".join(left))
            arguments = (
                "--ignore-installed", "--no-deps", "--only-binary=:all:", f"--python-version={version}",
                f"--target={scratch}/target", "-r", str(listed),
            )  # fmt: skip
            done = subprocess.run([*_PIP, *arguments], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return len(left), missing
            found = _NO_WHEEL.search(done.stderr)
            if not found:
                raise ConfigError(f"pip cannot look for wheels for Python {version}: {_errors(done.stderr)}")
            missing.append(found[1])
            left = [line for line in left if not line.startswith(f"{found[1]}==")]


# --- from nothing -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Run:
    seconds: float
    status: int
    text: str


def installed(python: Path | None) -> Figure:
    """1 when the newest set installs in an empty environment of a fresh copy and every test of it passes there.

    Otherwise the share of the tests that pass; 0 when it cannot be installed. Raises ConfigError for a wrong `python`.
    """
    version = _version_of(python) if python else HOME_PYTHON
    with tempfile.TemporaryDirectory(prefix="robolearn-install-") as scratch:
        copy = fresh_copy(Path(scratch))
        environment = clean_environment(Path(scratch), python)
        print(f"installing {SETS['newest']} in {copy}", flush=True)
        install = run(["tools/bootstrap.sh", "newest"], copy, environment)
        print(install.text[-1000:], flush=True)
        counts: Counter[str] = Counter()
        versions, test = {}, Run(0.0, 1, "")
        if install.status == 0:
            versions = versions_of(copy / ".venv-newest/bin/python")
            test = run(["make", "test-newest"], copy, environment)
            print(test.text[-3000:], flush=True)
            counts = outcomes(test.text)
        failed = counts["failed"] + counts["errors"]
        ran = counts["passed"] + failed
        share = counts["passed"] / ran if ran and install.status == 0 else 0.0
        if share == 1 and test.status:
            share = 0.0  # the tests did not end, or were not all collected
        config = {
            "python": versions.get("python", version), "install_s": install.seconds, "test_s": test.seconds,
            "passed": counts["passed"], "failed": failed, "skipped": counts["skipped"],
            "skipped_for": reasons(test.text), "tests": "tests/newest.txt",
            "venv_gb": round(_size(copy / ".venv-newest") / 1e9, 2), "pins": len(pins(SETS["newest"])),
        }  # fmt: skip
    figure_id = "install.newest_resolves" + (f".python{version.replace('.', '')}" if python else "")
    command = COMMAND + (f" --python python{version}" if python else "")
    notes = "share of the tests of tests/newest.txt that pass in an environment made from nothing"
    print(f"{figure_id}: {share:.4f}", flush=True)
    figure = Figure(figure_id, share, "1", max(1, ran), command, config=config, notes=notes)
    return replace(figure, versions={**versions, "git": git_revision() or "unknown"}) if versions else figure


def fresh_copy(folder: Path) -> Path:
    """What is committed, as a clone would hold it, with shared/ beside it where this checkout has it."""
    copy = folder / "robolearn"
    copy.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(copy)], input=archive, check=True)
    if SHARED.is_dir():
        (folder / "shared").symlink_to(SHARED)
    return copy


def clean_environment(folder: Path, python: Path | None) -> dict[str, str]:
    """This process's, without what it says of Python, with caches that are empty, as CI runs the tests."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHON", "PYTHONHOME")}
    ours = {"CI": "true", "PIP_NO_CACHE_DIR": "1", "ROBOLEARN_CACHE": str(folder / "cache")}
    return {**kept, **ours, **({"PYTHON": str(python)} if python else {})}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> Run:
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return Run(_since(start), done.returncode, done.stdout)


def outcomes(text: str) -> Counter[str]:
    """passed, failed, skipped and errors, added up over the closing lines of pytest."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if re.search(r"\b(passed|failed|errors?|skipped)\b.* in \d+(\.\d+)?s", line):
            for number, word in _COUNT.findall(line):
                found["errors" if word.startswith("error") else word] += int(number)
    return found


def reasons(text: str) -> list[str]:
    """Why tests were skipped, each once."""
    return sorted(set(re.findall(r"^SKIPPED \[\d+\] \S+: (.+)$", text, re.M)))


def versions_of(python: Path) -> dict[str, str]:
    program = "import json; from robolearn.core.provenance import package_versions as v; print(json.dumps(v()))"
    found = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def _version_of(python: Path) -> str:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"--python {python} does not run ({error}); give the path of an interpreter.") from error
    return done.stdout.strip()


def _size(folder: Path) -> int:
    """Bytes on disk of all files below."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir() or file.is_symlink())


def _errors(text: str) -> str:
    """Without pip's warnings."""
    return "\n".join(line for line in text.splitlines() if line and not line.startswith("WARNING"))[-2000:]


def _since(start: float) -> float:
    return round(time.monotonic() - start, 1)


if __name__ == "__main__":
    if not shutil.which("make"):
        sys.exit("error: make was not found; on Debian: apt-get install make")
    sys.exit(main(sys.argv[1:]))
