"""Our own requirements against what is installed, and clashes among what they pull. Nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from robolearn.core.health import HealthCheck
from robolearn.core.pins import differences, install_line, nearest, version_of

OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def package_checks() -> Iterator[HealthCheck]:
    """Our own requirements against what is installed, then clashes among the packages that they pull."""
    group = "Packages"
    try:
        ours = [Requirement(text) for text in metadata.requires("robolearn") or []]
    except metadata.PackageNotFoundError:
        yield HealthCheck(group, "robolearn", "bad", "used without being installed", "pip install -e .")
        return
    extras = [extra for extra in _extras("robolearn") if extra not in ("all", "dev")]
    wanted_by = {extra: [r for r in ours if _applies(r, extra)] for extra in ("", *extras)}
    in_use = {extra for extra in extras if _is_in_use(extra, wanted_by)}
    seen = set()
    for extra, requirements in wanted_by.items():
        for requirement in requirements:
            if requirement.name not in seen:
                seen.add(requirement.name)
                for other in (r for used in in_use for r in wanted_by[used] if r.name == requirement.name):
                    requirement.specifier &= other.specifier
                yield _package(group, requirement, extra)
    yield from _clashes(group, [requirement.name for requirement in ours])
    yield from _pins(group)
    opencv = [name for name in OPENCV_WHEELS if version_of(name)]
    if len(opencv) > 1:
        yield HealthCheck(
            group,
            "opencv",
            "warn",
            f"{' and '.join(opencv)} are both installed and overwrite one another",
            f"pip uninstall -y {' '.join(opencv)} && pip install opencv-python",
        )


def _is_in_use(extra: str, wanted_by: dict[str, list[Requirement]]) -> bool:
    """Whether something is installed that only this extra names: then its bounds of other packages hold, too."""
    others = {r.name for other, requirements in wanted_by.items() if other != extra for r in requirements}
    return any(r.name not in others and version_of(r.name) for r in wanted_by[extra])


def _pins(group: str) -> Iterator[HealthCheck]:
    """In a checkout: which of the tested sets of versions is followed, the nearest, and what differs from it."""
    files = differences()
    if not files:
        return
    file = nearest(files)
    if files[file]:
        found = f"other versions than tested with {file.name}: {', '.join(files[file])}"
        [line] = re.findall(r"pip install -c \S+ -e .+", file.read_text()) or [f"pip install -c {file.name} -e ."]
        yield HealthCheck(group, "pins", "warn", found, line)
    else:
        yield HealthCheck(group, "pins", "ok", f"every installed package has its version of {file.name}")


def _package(group: str, requirement: Requirement, extra: str) -> HealthCheck:
    version, bounds = version_of(requirement.name), str(requirement.specifier)
    if version is None:
        if extra:
            return HealthCheck(
                group,
                requirement.name,
                "info",
                "not installed",
                f"{install_line(extra)}, when it is needed",
            )
        return HealthCheck(group, requirement.name, "bad", "not installed", f"pip install '{requirement.name}{bounds}'")
    if not requirement.specifier.contains(version, prereleases=True):
        return HealthCheck(
            group,
            requirement.name,
            "bad",
            f"{version}, but robolearn needs {bounds}",
            f"pip install '{requirement.name}{bounds}'",
        )
    return HealthCheck(group, requirement.name, "ok", f"{version} ({bounds})")


def _clashes(group: str, roots: list[str]) -> Iterator[HealthCheck]:
    """Installed packages, reachable from `roots`, whose own requirements another installed version breaks."""
    waiting, seen = [(name, "") for name in roots], set()
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen or version_of(name) is None:
            continue
        seen.add((canonicalize_name(name), extra))
        for requirement in map(Requirement, metadata.requires(name) or []):
            version = version_of(requirement.name)
            if not _applies(requirement, extra) or version is None:
                continue
            waiting += [(requirement.name, e) for e in ("", *requirement.extras)]
            if not requirement.specifier.contains(version, prereleases=True):
                yield HealthCheck(
                    group,
                    requirement.name,
                    "bad",
                    f"{version}, but {name} {version_of(name)} needs {requirement.specifier}",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )


def _extras(name: str) -> list[str]:
    return metadata.metadata(name).get_all("Provides-Extra") or []


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
