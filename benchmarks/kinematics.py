"""How long one solve of inverse kinematics takes: warm start, one control step away, at the scene's tolerance.

    kinematics.ik_us    microseconds a solve, one entry a robot

The tool moves and turns along a path through the arm's workspace, 12.5 mm a step (0.25 m/s at 20 Hz), and each solve
starts where the last one ended. Beside it, for the Panda, stand the solver of the published states of put_on_plate
(`PoseIK`), on that scene's own model and the same poses in the same run (turns about), and how many poses each of the
two met. Times are of the processor, so that what else runs on the machine is not measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from robolearn.core.rotation import matrix_to_axis_angle
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.ik import SCENE
from robolearn.kinematics.robots import ROBOTS, robot
from robolearn.sim.engine.scene_ik import PoseIK
from robolearn.sim.registry import make_env

MOST_US = 120.0
STEP_M = 0.0125
TURNS = 9

Pose = tuple[np.ndarray, np.ndarray]
Solve = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def path(kinematics: ArmKinematics, steps: int) -> list[Pose]:
    """Poses (steps,) that all joints swinging about home bring about, `STEP_M` of the tool's path apart."""
    low, high = kinematics.limits_rad.T
    home = kinematics.home_rad
    swing = np.minimum(0.35, 0.9 * np.minimum(home - low, high - home))
    rates = 1.0 + 0.37 * np.arange(len(home))
    poses, phase = [kinematics.forward(home)], 0.0
    while len(poses) < steps:
        phase += 0.002
        position, rotation = kinematics.forward(home + swing * np.sin(rates * phase))
        if np.linalg.norm(position - poses[-1][0]) >= STEP_M:
            poses.append((position, rotation))
    return poses


def follow(solve: Solve, start: np.ndarray, poses: list[Pose]) -> tuple[float, list[np.ndarray]]:
    """Microseconds a solve, and the joints."""
    joints, found = start, []
    began = time.thread_time()
    for position, rotation in poses:
        joints = solve(joints, position, rotation)
        found.append(joints)
    return (time.thread_time() - began) / len(poses) * 1e6, found


def met(kinematics: ArmKinematics, found: list[np.ndarray], poses: list[Pose]) -> float:
    """Share of poses met within the scene's tolerance, with what the arm is free of left out."""
    hits = 0
    for joints, (position, rotation) in zip(found, poses, strict=True):
        at, turned = kinematics.forward(joints)
        error = matrix_to_axis_angle(rotation @ turned.T)
        if kinematics.robot.free:
            tangent = np.array([-position[1], position[0], 0.0]) / np.hypot(position[0], position[1])
            error = np.array([error @ tangent, error @ rotation[:, 2]])
        near = np.linalg.norm(at - position) <= SCENE.position_m * 1.001
        hits += bool(near and np.linalg.norm(error) <= SCENE.rotation_rad * 1.001)
    return hits / len(poses)


def measure(name: str, steps: int, command: str) -> Figure:
    kinematics = ArmKinematics(robot(name), SCENE)
    poses, home = path(kinematics, steps), kinematics.home_rad
    ours: Solve = lambda start, position, rotation: kinematics.solve(start, position, rotation).joints  # noqa: E731
    solvers = {"ours": ours}
    if name == "panda":
        scene = make_env("put_on_plate")
        solvers["PoseIK"] = PoseIK(scene.model, "tcp", kinematics.robot.joints, home).solve
    times: dict[str, list[float]] = {solver: [] for solver in solvers}
    found = {}
    for _ in range(TURNS):
        for solver, solve in solvers.items():
            spent, found[solver] = follow(solve, home, poses)
            times[solver].append(spent)
    median = {solver: statistics.median(turns) for solver, turns in times.items()}
    shares = {solver: met(kinematics, joints, poses) for solver, joints in found.items()}
    told = ", ".join(f"{solver} {median[solver]:.1f} us, {shares[solver]:.1%} of poses met" for solver in solvers)
    print(f"{name}: {told}", flush=True)
    return Figure(
        "kinematics.ik_us",
        median["ours"],
        "us",
        steps * TURNS,
        command,
        interval=(min(times["ours"]), max(times["ours"])),
        config={
            "variant": name, "joints": len(home), "tolerance": [SCENE.position_m, SCENE.rotation_rad],
            "step_m": STEP_M, "turns": TURNS, "poses_met": shares,
            "PoseIK_us": median.get("PoseIK"),
        },
        notes="median over turns of the mean time of a solve; the interval is the fastest and the slowest turn",
    )  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    command = "python benchmarks/kinematics.py" + (" --quick" if options.quick else "")
    figures = []
    for name in ROBOTS:
        if not robot(name).is_present:
            print(
                f"{name}: left out, its files are not on this machine (MENAGERIE_ROOT names a checkout)",
                file=sys.stderr,
            )
            continue
        figures.append(measure(name, 50 if options.quick else 1000, command))
    write_figures(results_file("kinematics", options.quick), figures)
    of_seven = [figure.value for figure in figures if figure.config["joints"] == 7]
    return int(max(of_seven, default=0.0) > MOST_US)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
