"""`robolearn doctor`: what is installed, how rendering will work, which robots' models and devices are there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from robolearn.core.config import parse
from robolearn.core.health import HealthCheck, machine_checks
from robolearn.core.packages import package_checks
from robolearn.hardware.health import device_checks
from robolearn.kinematics.health import robot_checks
from robolearn.policies.health import learning_checks
from robolearn.sim.health import rendering_checks

_STYLES = {"ok": "green", "info": "dim", "warn": "yellow", "bad": "bold red"}


@dataclasses.dataclass(frozen=True)
class DoctorOptions:
    """Options of `robolearn doctor`."""

    json: bool = False
    """Print the findings as json."""


def main(argv: list[str]) -> int:
    """Print the findings; 1 when something that is installed or required is broken, else 0."""
    options = parse(DoctorOptions, argv, prog="robolearn doctor", description=__doc__ or "")
    checks = []
    if options.json:
        checks = list(all_checks())
        print(json.dumps({"ok": is_healthy(checks), "checks": [dataclasses.asdict(c) for c in checks]}, indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for check in all_checks():
            _print_check(console, check, new_group=not checks or checks[-1].group != check.group)
            checks.append(check)
        _print_verdict(console, checks)
    return 0 if is_healthy(checks) else 1


def all_checks() -> Iterator[HealthCheck]:
    """Every check, in the order in which a person would ask."""
    for checks in (machine_checks, package_checks, rendering_checks, robot_checks, learning_checks, device_checks):
        yield from checks()


def is_healthy(checks: Iterable[HealthCheck]) -> bool:
    return all(check.status != "bad" for check in checks)


def _print_check(console: Console, check: HealthCheck, new_group: bool) -> None:
    if new_group:
        console.print(Text(f"\n{check.group}", style="bold"))
    style = _STYLES[check.status]
    console.print(Text.assemble("  ", (f"{check.status:<4}", style), f"  {check.name:<20}  {check.found}"))
    if check.advice:
        console.print(Text(f"{'':28}-> {check.advice}", style=style))


def _print_verdict(console: Console, checks: list[HealthCheck]) -> None:
    broken = [check.name for check in checks if check.status == "bad"]
    warned = [check.name for check in checks if check.status == "warn"]
    console.print()
    if broken:
        console.print(Text(f"Broken: {', '.join(broken)}. The lines with -> say what to type.", style=_STYLES["bad"]))
    elif warned:
        console.print(Text(f"Everything works; worth a look: {', '.join(warned)}.", style=_STYLES["warn"]))
    else:
        console.print(Text("Everything works.", style=_STYLES["ok"]))
