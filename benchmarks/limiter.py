"""The safety limiter against targets that are out to break it: is any limit ever exceeded?

limiter.worst_ratio     commanded over allowed acceleration, of position and of rotation, worst of 1,000,000 ticks; at
                        most 1.01. Speed and workspace are checked on the same ticks and must hold as well.

What was commanded is judged by poses and times alone: v is a step over the time that passed, acceleration the change
of v over that time. Every episode has its own limits, box, start (a quarter of them outside of the box) and rate; one
tick in twenty is late, some are stops.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from robolearn.control.safety import SafetyLimiter, SafetyLimits
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.execution.command import Command

MOST = 1.01
EPISODE_TICKS = 500
PERIODS_S = (0.001, 0.004, 0.005, 0.02, 0.05)

Positions = Iterator[np.ndarray]


@dataclass
class World:
    """What an adversary may look at: the limiter with its limits and state, and the time of the next tick."""

    rng: np.random.Generator
    limiter: SafetyLimiter
    dt_s: float = 0.0

    @property
    def low(self) -> np.ndarray:
        return np.array(self.limiter.limits.workspace_low_m)

    @property
    def high(self) -> np.ndarray:
        return np.array(self.limiter.limits.workspace_high_m)

    def corner(self, beyond_m: float = 0.0) -> np.ndarray:
        side = self.rng.integers(0, 2, 3)
        return np.where(side, self.high + beyond_m, self.low - beyond_m)

    def inside(self) -> np.ndarray:
        return self.rng.uniform(self.low, self.high)


def held(world: World, choose: Callable[[], np.ndarray], longest: int) -> Positions:
    while True:
        target = choose()
        for _ in range(world.rng.integers(1, longest)):
            yield target


def faces(world: World) -> Positions:
    def beyond_a_face() -> np.ndarray:
        target, axis = world.inside(), world.rng.integers(3)
        target[axis] = world.corner(world.rng.choice([0.0, 1e-3, 0.5, 100.0]))[axis]
        return target

    return held(world, beyond_a_face, 120)


def corners(world: World) -> Positions:
    return held(world, lambda: world.corner(world.rng.choice([0.0, 0.01, 10.0])), 150)


def bang_bang(world: World) -> Positions:
    first = world.corner(0.2)
    pair = [first, world.low + world.high - first]
    while True:
        for target in pair:
            yield from [target] * int(world.rng.integers(1, 60))


def noise(world: World) -> Positions:
    size = world.high - world.low
    while True:
        yield world.rng.uniform(world.low - size, world.high + size)


def moving(world: World) -> Positions:
    """Steady motion, up to twice as fast as allowed, that turns at random moments."""
    target = world.inside()
    while True:
        velocity = world.rng.normal(size=3)
        velocity *= world.rng.uniform(0, 2) * world.limiter.limits.max_speed_m_s / np.linalg.norm(velocity)
        for _ in range(world.rng.integers(1, 80)):
            target = np.clip(target + velocity * world.dt_s, world.low - 0.1, world.high + 0.1)
            yield target


def grazing(world: World) -> Positions:
    """Along a face, in and out of it by a millimetre."""
    axis, phase = world.rng.integers(3), 0.0
    wall = world.corner()[axis]
    middle, reach = (world.low + world.high) / 2, (world.high - world.low) / 2
    while True:
        phase += world.dt_s * world.limiter.limits.max_speed_m_s / reach.min()
        target = middle + 1.1 * reach * np.sin(phase * np.array([1.0, 1.3, 1.7]))
        target[axis] = wall + world.rng.uniform(-1e-3, 1e-3)
        yield target


def feints(world: World) -> Positions:
    """Into a corner at full speed; then, at the last moment, wherever the motion would least like to turn."""
    while True:
        corner = world.corner(1.0)
        near = world.rng.uniform(0.0, 0.1)
        for _ in range(200):
            position = world.limiter.commanded.position_m
            if np.minimum(position - world.low, world.high - position).min() < near:
                break
            yield corner
        across = np.roll(corner - world.limiter.commanded.position_m, 1) * world.rng.choice([-10.0, 10.0])
        for _ in range(world.rng.integers(1, 30)):
            yield world.limiter.commanded.position_m + across


ADVERSARIES = (faces, corners, bang_bang, noise, moving, grazing, feints)


def limits(rng: np.random.Generator) -> SafetyLimits:
    low = rng.uniform(-1, 0.5, 3)
    high = low + rng.uniform(0.01, 1.0, 3)
    acceleration, turning = rng.uniform(1, 20), rng.uniform(4, 80)
    return SafetyLimits(
        tuple(low), tuple(high), rng.uniform(0.05, 2), rng.uniform(0.2, 6), acceleration, turning,
        acceleration * rng.uniform(0.1, 1), turning * rng.uniform(0.1, 1),
    )  # fmt: skip


def rotations(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Held, turning steadily, or another at each tick; half turns among them."""
    while True:
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        angle, spin = rng.choice([0.0, np.pi, rng.uniform(-np.pi, np.pi)]), rng.choice([0.0, rng.normal() * 0.05])
        for _ in range(rng.choice([1, 1, 30, 100])):
            angle += spin
            yield axis_angle_to_matrix(axis * angle)


@dataclass(frozen=True)
class Worst:
    """Largest of commanded over allowed, and how far outside of the box (or further outside) a command was."""

    acceleration: float
    turning: float
    speed: float
    spin: float
    outside_m: float


def episode(adversary: Callable[[World], Positions], seed: int, ticks: int) -> Worst:
    rng = np.random.default_rng(seed)
    period_s = float(rng.choice(PERIODS_S))
    limiter = SafetyLimiter(limits(rng), 4 * period_s)
    world = World(rng, limiter)
    start = world.inside() + (rng.normal(size=3) * 0.2 if rng.random() < 0.25 else 0.0)
    limiter.reset(Command(start, axis_angle_to_matrix(rng.normal(size=3)), 1.0))
    targets, turns = adversary(world), rotations(rng)
    track, dts = [limiter.commanded, limiter.commanded], [period_s]
    stopping = 0
    for _ in range(ticks):
        world.dt_s = float(
            rng.choice([period_s, rng.uniform(1e-4, 2 * period_s), rng.uniform(0, 0.5)], p=[0.85, 0.1, 0.05])
        )
        stopping = max(0, stopping - 1) or (int(rng.integers(1, 50)) if rng.random() < 0.005 else 0)
        if stopping:
            limiter.brake(world.dt_s)
        else:
            limiter.limit(Command(next(targets), next(turns), rng.uniform(-0.5, 1.5)), world.dt_s)
        track.append(limiter.commanded)
        dts.append(world.dt_s)
    return judge(limiter.limits, track, np.array(dts))


def judge(allowed: SafetyLimits, track: list[Command], dt_s: np.ndarray) -> Worst:
    """By the commands (N + 1) and the times between them (N)."""
    positions = np.array([command.position_m for command in track])
    turns = np.array([command.rotation for command in track])
    velocity = np.diff(positions, axis=0) / dt_s[:, None]
    spin = matrix_to_axis_angle(turns[1:] @ turns[:-1].transpose(0, 2, 1)) / dt_s[:, None]

    def most(change: np.ndarray, limit: float) -> float:
        return float(np.linalg.norm(change, axis=1).max() / limit)

    away = np.maximum(np.array(allowed.workspace_low_m) - positions, positions - np.array(allowed.workspace_high_m))
    outside = np.maximum(away, 0.0)
    return Worst(
        most(np.diff(velocity, axis=0) / dt_s[1:, None], allowed.max_acceleration_m_s2),
        most(np.diff(spin, axis=0) / dt_s[1:, None], allowed.max_rotation_acceleration_rad_s2),
        most(velocity, allowed.max_speed_m_s),
        most(spin, allowed.max_rotation_rad_s),
        float(np.diff(outside, axis=0).max()),
    )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    ticks = 10_000 if options.quick else 1_000_000
    episodes = -(-ticks // EPISODE_TICKS)
    found: dict[str, list[Worst]] = {adversary.__name__: [] for adversary in ADVERSARIES}
    for seed in range(episodes):
        adversary = ADVERSARIES[seed % len(ADVERSARIES)]
        found[adversary.__name__].append(episode(adversary, seed, EPISODE_TICKS))
        if sys.stderr.isatty() and seed % 20 == 0:
            print(f"\r{seed}/{episodes}", end="", file=sys.stderr)
    rows = {
        name: {field: max(getattr(w, field) for w in worst) for field in Worst.__dataclass_fields__}
        for name, worst in found.items()
    }
    for name, row in rows.items():
        print(f"{name:<10}" + "".join(f"  {field} {value:.6g}" for field, value in row.items()))
    worst = {field: max(row[field] for row in rows.values()) for field in Worst.__dataclass_fields__}
    value = max(worst["acceleration"], worst["turning"])
    note = (
        f"speed at most {max(worst['speed'], worst['spin']):.6f} of what is allowed, never outside of the box by more "
        f"than {max(worst['outside_m'], 0.0):.1e} m"
    )
    count = episodes * EPISODE_TICKS
    print(f"{count} ticks: acceleration at most {value:.6f} of what is allowed; {note}")
    command = "python benchmarks/limiter.py" + (" --quick" if options.quick else "")
    figure = Figure(
        "limiter.worst_ratio", value, "1", count, command, seeds=(0,), config={"worst_by_adversary": rows}, notes=note
    )
    write_figures(results_file("limiter", options.quick), [figure])
    held = value <= MOST and worst["speed"] <= MOST and worst["spin"] <= MOST and worst["outside_m"] <= 1e-9
    return int(not held)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
