"""Speed of Diffusion Policy's U-Net on one core: training steps and sampling, beside plain implementations.

Training: the whole step (loss, gradients, AdamW) of `DiffusionPolicy` on a batch of Push-T's shape, against the same
network and loss from torch's layers (`_plain_unet`), diffusers' noise scheduler and AdamW as it comes. Sampling: one
chunk by DDIM in 16 steps, against the plain network stepped by diffusers' scheduler; and what the sampler's arithmetic
adds to the network's time. Contestants take turns in one process of one thread, and what is counted is the processor
time it got, so that other load does not; ratios are medians over turns.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _plain_unet import PlainUnet
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.diffusion import DiffusionConfig, DiffusionPolicy, UnetConfig
from robolearn.policies.noise import Noise

SMALL, LARGE = (64, 128, 256), (256, 512, 1024)
BATCH, CHUNK, STEPS = 256, 16, 16
STATE, ACTION = Feature("observation.state", (20,)), Feature("action", (2,))
SCHEDULE = {"num_train_timesteps": 100, "beta_schedule": "squaredcos_cap_v2", "clip_sample": True}


def policy(**options: Any) -> DiffusionPolicy:
    """Push-T keypoints: 20 numbers observed twice, actions of 2, a chunk of 16."""
    config = DiffusionConfig(observations=(STATE.name,), **options)
    rng = np.random.default_rng(0)
    arrays = {f.name: rng.uniform(-1, 1, (64, *f.shape)).astype(np.float32) for f in (STATE, ACTION)}
    normalizer = Normalizer.fit(arrays, features([STATE, ACTION]))
    torch.manual_seed(0)
    spec = PolicySpec(features([STATE]), ACTION, config.obs_horizon, config.action_horizon, 10.0)
    return DiffusionPolicy(config, spec, normalizer)


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        STATE.name: torch.rand(BATCH, 2, 20, generator=generator),
        ACTION.name: torch.rand(BATCH, CHUNK, 2, generator=generator),
        f"{ACTION.name}.is_pad": torch.zeros(BATCH, CHUNK, dtype=torch.bool),
    }


def own_training(dtype: torch.dtype) -> Callable[[], None]:
    own, windows = policy(unet=UnetConfig(SMALL)), batch()
    optimizer = torch.optim.AdamW(own.parameters(), lr=1e-4, fused=True)
    noise = Noise(0)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = own.loss(windows, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def plain_training(dtype: torch.dtype) -> Callable[[], None]:
    plain, windows = PlainUnet(2, 40, SMALL), batch()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-4)
    scheduler: Any = DDPMScheduler(**SCHEDULE)
    observation, actions = (2 * windows[f.name] - 1 for f in (STATE, ACTION))

    def step() -> None:
        eps, k = torch.randn_like(actions), torch.randint(0, 100, (BATCH,))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            prediction = plain(scheduler.add_noise(actions, eps, k), k, observation.flatten(1))
            loss = nn.functional.mse_loss(prediction, eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def own_sampling(own: DiffusionPolicy) -> Callable[[], None]:
    observation = {STATE.name: np.zeros((2, 20), np.float32)}
    own.eval()

    def sample() -> None:
        own.predict_chunk(observation)

    return sample


def plain_sampling(widths: Sequence[int]) -> Callable[[], None]:
    plain, condition = PlainUnet(2, 40, widths).eval(), torch.zeros(1, 40)
    scheduler: Any = DDIMScheduler(**SCHEDULE)

    @torch.inference_mode()
    def sample() -> None:
        scheduler.set_timesteps(STEPS)
        x = torch.randn(1, CHUNK, 2)
        for k in scheduler.timesteps:
            x = scheduler.step(plain(x, k.expand(1), condition), k, x).prev_sample

    return sample


def own_parts(own: DiffusionPolicy) -> dict[str, Callable[[], object]]:
    """A chunk's network calls, and the sampler's arithmetic without them: ours and diffusers'."""
    levels, answer, condition = torch.tensor(own.table.levels), torch.zeros(1, CHUNK, 2), torch.zeros(1, 2, 20)
    scheduler: Any = DDIMScheduler(**SCHEDULE)

    @torch.inference_mode()
    def network() -> None:
        predict = own.network.denoiser(levels, condition)
        for i in range(STEPS):
            predict(answer, i)

    @torch.inference_mode()
    def table() -> None:
        own.table(lambda x, i: answer, answer)

    @torch.inference_mode()
    def diffusers() -> None:
        scheduler.set_timesteps(STEPS)
        for k in scheduler.timesteps:
            scheduler.step(answer, k, answer)

    return {"network": network, "table": table, "diffusers": diffusers}


def in_turns(contestants: dict[str, Callable[[], object]], turns: int, calls: int = 1) -> dict[str, list[float]]:
    """Processor seconds a call of each, one entry a turn; the first turn warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name, call in contestants.items():
            start = time.process_time()
            for _ in range(calls):
                call()
            if turn:
                seconds[name].append((time.process_time() - start) / calls)
    return seconds


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    torch.set_num_threads(1)
    turns, chunks = (3, 2) if options.quick else (11, 5)
    command = "python benchmarks/unet_speed.py" + (" --quick" if options.quick else "")
    figures: list[Figure] = []

    def add(id: str, values: list[float], unit: str, notes: str, **config: Any) -> None:
        interval = (min(values), max(values))
        notes = f"{notes}; interval: lowest and highest turn; processor time of one core"
        figures.append(Figure(id, median(values), unit, len(values), command, interval, config=config, notes=notes))

    def ratio(above: list[float], below: list[float]) -> list[float]:
        return [a / b for a, b in zip(above, below, strict=True)]

    for dtype, suffix in ((torch.float32, ""), (torch.bfloat16, "_bf16")):
        shape = {"widths": SMALL, "batch_size": BATCH, "chunk": CHUNK, "precision": str(dtype).removeprefix("torch.")}
        seconds = in_turns({"own": own_training(dtype), "plain": plain_training(dtype)}, turns)
        found = ratio(seconds["plain"], seconds["own"])
        add(f"train.unet.speedup_vs_reference{suffix}", found, "1", "whole step against plain layers", **shape)
        rates = [BATCH / s for s in seconds["own"]]
        add(f"train.unet.windows_per_s{suffix}", rates, "1/s", "whole training step", **shape)
    for widths, suffix in ((SMALL, ""), (LARGE, "_large")):
        shape = {"widths": widths, "sampler": f"ddim, {STEPS} steps", "chunk": CHUNK}
        own = policy(unet=UnetConfig(widths))
        few = 1 if widths == LARGE else chunks
        parts = in_turns(own_parts(own.eval()), turns, few)
        overhead = "sampler's arithmetic as a share of the network's time"
        add(f"unet.scheduler_overhead{suffix}", ratio(parts["table"], parts["network"]), "1", overhead, **shape)
        if widths == SMALL:
            theirs = ratio(parts["diffusers"], parts["network"])
            add("unet.scheduler_overhead_diffusers", theirs, "1", f"{overhead}, with diffusers' scheduler", **shape)
        seconds = in_turns({"own": own_sampling(own), "plain": plain_sampling(widths)}, turns, few)
        add(f"unet.latency_ms{suffix}", [1e3 * s for s in seconds["own"]], "ms", "one chunk, batch 1", **shape)
        found = ratio(seconds["plain"], seconds["own"])
        add(f"unet.latency_speedup_vs_reference{suffix}", found, "1", "plain layers, diffusers' scheduler", **shape)
    transformer = policy(network="transformer", action_horizon=9)
    seconds = in_turns({"own": own_sampling(transformer)}, turns)
    shape = {"size": "8 layers of 256", "sampler": f"ddim, {STEPS} steps", "chunk": 10}
    add("diffusion_transformer.latency_ms", [1e3 * s for s in seconds["own"]], "ms", "one chunk, batch 1", **shape)
    for figure in figures:
        low, high = figure.interval or (figure.value, figure.value)
        print(f"{figure.id:45} {figure.value:10.4g} {figure.unit:4} [{low:.4g}, {high:.4g}]")
    write_figures(results_file("unet_speed", options.quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
