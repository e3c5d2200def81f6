"""Control steps per second of our scenes and of robosuite's Lift, state only, one core, side by side.

put_on_plate and Lift: same control rate (20 Hz), same physics step (2 ms), random small motions around the start
posture. Avoiding and block push have no arm and rates of their own. All are measured in turns in one process, so that
other load on the machine meets all; the ratio is the median of put_on_plate's per-turn ratios to Lift.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

CONTROL_HZ = 20.0


def own_stepper() -> Callable[[int], None]:
    from robolearn.sim import make_env

    env = make_env("put_on_plate", control_hz=CONTROL_HZ)
    rng = np.random.default_rng(0)

    def run(steps: int) -> None:
        observation, _ = env.reset(options={"init_state": 0})
        action = observation["observation.state"].copy()
        for _ in range(steps):
            action[:3] += rng.uniform(-0.01, 0.01, 3)
            action[:3] = np.clip(action[:3], (0.35, -0.2, 0.05), (0.6, 0.2, 0.4))
            env.step(action)

    return run


def planar_stepper(name: str) -> Callable[[int], None]:
    """Small random motions of a scene without an arm; an episode that ends begins again."""
    from robolearn.sim import make_env

    env = make_env(name)
    rng = np.random.default_rng(0)

    def run(steps: int) -> None:
        env.reset(options={"init_state": 0})
        for _ in range(steps):
            *_, terminated, truncated, _ = env.step(rng.uniform(-0.01, 0.01, 2).astype(np.float32))
            if terminated or truncated:
                env.reset(options={"init_state": 0})

    return run


def robosuite_stepper() -> Callable[[int], None]:
    import logging

    from robolearn.sim.adapters.robosuite_import import import_robosuite

    logging.disable(logging.WARNING)
    env = import_robosuite().make(
        "Lift", robots="Panda", has_renderer=False, has_offscreen_renderer=False, use_camera_obs=False,
        control_freq=CONTROL_HZ, horizon=10**9, ignore_done=True,
    )  # fmt: skip
    rng = np.random.default_rng(0)

    def run(steps: int) -> None:
        env.reset()
        for _ in range(steps):
            env.step(rng.uniform(-0.2, 0.2, env.action_dim))

    return run


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    turns, steps = (3, 100) if options.quick else (9, 400)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    steppers = {
        "put_on_plate": own_stepper(), "robosuite Lift": robosuite_stepper(), "avoiding": planar_stepper("avoiding"),
        "block_push": planar_stepper("block_push"),
    }  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name in steppers}
    for turn in range(turns + 1):
        for name, run in steppers.items():
            start = time.perf_counter()
            run(steps)
            if turn:  # the first turn warms up
                rates[name].append(steps / (time.perf_counter() - start))
    ratios = np.array(rates["put_on_plate"]) / np.array(rates["robosuite Lift"])
    config = {"steps_a_turn": steps, "turns": turns}
    arm = {"control_hz": CONTROL_HZ, "physics_step_s": 0.002}
    command = "python benchmarks/sim_speed.py" + (" --quick" if options.quick else "")
    note = "interval: lowest and highest turn; one core; resets included"
    figures = [
        Figure("sim.steps_ratio_vs_robosuite", float(np.median(ratios)), "1", turns, command,
               (float(ratios.min()), float(ratios.max())), config={**config, **arm}, notes=note)
    ]  # fmt: skip
    for name, values in rates.items():
        scene = {"variant": name, **config, **(arm if name in ("put_on_plate", "robosuite Lift") else {})}
        figures.append(
            Figure("sim.steps_per_s", float(np.median(values)), "1/s", turns, command, (min(values), max(values)),
                   config=scene, notes=note)
        )  # fmt: skip
        print(f"{name:16s} {np.median(values):7.0f} control steps/s")
    print(f"ratio            {np.median(ratios):7.2f}")
    write_figures(results_file("sim_speed", options.quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
