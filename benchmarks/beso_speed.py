"""Speed of BESO at the authors' block-push size: one action, one training step, and its import.

    python benchmarks/beso_speed.py           writes benchmarks/results/beso_speed.json
    python benchmarks/beso_speed.py --quick   few repetitions, to see that it works

240 wide, 4 blocks, 12 heads, window 5, one goal, 2.8 M weights. The reference is the same network with the same weights
as one would write it first: `nn.MultiheadAttention` over the whole sequence at every denoising step, `nn.GELU` and
`nn.Dropout`, plain AdamW. Both are measured in turns in one process, so that other load on the machine meets both; a
speed-up is the median of the per-turn ratios. Actions must agree to 1e-4: ours multiplies by weights in half precision.
"""

from __future__ import annotations

import argparse
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.core.feature import Feature, features
from robolearn.core.normalizer import Normalizer
from robolearn.core.process import usable_cores
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.execution.policy_spec import PolicySpec
from robolearn.policies.base import Context
from robolearn.policies.beso import BesoConfig, BesoPolicy
from robolearn.policies.edm import precondition
from robolearn.policies.networks.score_transformer import ScoreTransformer
from robolearn.policies.networks.transformer import Block
from robolearn.policies.noise import Noise
from robolearn.policies.samplers import Denoiser

STATE, BLOCKS, ACTION = (
    Feature("observation.state", (10,)),
    Feature("observation.blocks", (4,)),
    Feature("action", (2,)),
)
CONFIG = BesoConfig(observations=(STATE.name,), goals=(BLOCKS.name,))
BATCH, QUICK_BATCH = 256, 16
IMPORT = """
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start, "diffusers" in sys.modules)
"""


class ReferenceBlock(nn.Module):
    """A pre-norm transformer block of torch's own parts, with the weights of `block`."""

    def __init__(self, block: Block):
        super().__init__()
        dim = block.project.in_features
        self.norm_attention, self.norm_mlp = block.norm_attention, block.norm_mlp
        self.attention = nn.MultiheadAttention(dim, block.heads, block.attention_dropout, batch_first=True)
        self.attention.in_proj_weight = nn.Parameter(block.qkv.weight.detach())
        self.attention.in_proj_bias = nn.Parameter(block.qkv.bias.detach())
        self.attention.out_proj = block.project  # type: ignore[assignment]
        self.dropout = nn.Dropout(block.dropout)
        self.mlp = nn.Sequential(block.expand, nn.GELU(), block.contract, nn.Dropout(block.dropout))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norm_attention(x)
        x = x + self.dropout(self.attention(y, y, y, attn_mask=mask, need_weights=False)[0])
        return x + self.mlp(self.norm_mlp(x))


class ReferenceNetwork(nn.Module):
    """`ScoreTransformer` with all tokens in every block and nothing kept between calls."""

    def __init__(self, network: ScoreTransformer):
        super().__init__()
        self.parts = network
        self.reference_blocks = nn.ModuleList(ReferenceBlock(block) for block in network.blocks)
        self.dropout = nn.Dropout(network.dropout)
        self.context = network.context

    def forward(self, context: Tensor, noisy: Tensor, noise: Tensor) -> Tensor:
        parts, targets = self.parts, noisy.shape[1]
        first = parts.position.shape[0] - targets
        tokens = parts.embed_action(noisy) + parts.embed_sigma(noise[..., None]) + parts.position[first:]
        x = self.dropout(torch.cat([context, tokens], dim=1))
        mask = parts.mask if targets == parts.targets else parts.decoder_mask
        for block in self.reference_blocks:
            x = block(x, mask)
        return parts.head(parts.norm(x[:, -targets:]))


class ReferencePolicy(BesoPolicy):
    """BESO on the reference network; losses and samplers are the same."""

    def __init__(self, policy: BesoPolicy):
        super().__init__(policy.config, policy.spec, policy.normalizer)
        assert isinstance(policy.network, ScoreTransformer)
        self.network = ReferenceNetwork(copy.deepcopy(policy.network))  # type: ignore[assignment]

    def _denoiser(self, context: Context) -> Denoiser:
        def denoise(action: Tensor, sigma: float) -> Tensor:
            levels = precondition(action.new_full((len(action), 1, 1), sigma), self.config.sigma_data)
            c_skip, c_out, c_in, c_noise = levels
            raw = self.network(self._tokens(context, None), c_in * action, c_noise[..., 0])
            return c_skip * action + c_out * raw

        return denoise


def make_policy(**options: Any) -> BesoPolicy:
    """An untrained policy whose weights are large enough for its inputs to matter."""
    torch.manual_seed(0)
    rng, known = np.random.default_rng(0), features([STATE, BLOCKS, ACTION])
    normalizer = Normalizer.fit({name: rng.normal(size=(100, *f.shape)) for name, f in known.items()}, known)
    config = BesoConfig(**{**vars(CONFIG), **options})
    spec = PolicySpec(
        features([STATE]), ACTION, config.obs_horizon, config.action_horizon, 10.0, features([BLOCKS]),
        config.goal_horizon,
    )  # fmt: skip
    policy = BesoPolicy(config, spec, normalizer)
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.normal_(0.0, 0.06)
    return policy


def asker(policy: BesoPolicy) -> Callable[[], np.ndarray]:
    """One whole action of `policy`: from numpy observations, goal and executed actions to a numpy action."""
    rng, w = np.random.default_rng(1), policy.spec.obs_horizon
    observation = {STATE.name: rng.normal(size=(w, 10)).astype(np.float32)}
    goal, executed = {BLOCKS.name: rng.normal(size=(1, 4)).astype(np.float32)}, rng.normal(size=(w - 1, 2))
    return lambda: policy.predict_chunk(observation, goal, executed, torch.Generator().manual_seed(0))


def trainer(policy: BesoPolicy, rows: int, fused: bool, precision: torch.dtype) -> Callable[[], float]:
    """One training step of `policy` on a fixed batch."""
    torch.manual_seed(0)
    w = policy.spec.obs_horizon
    batch = {
        STATE.name: torch.randn(rows, w, 10), f"goal.{BLOCKS.name}": torch.randn(rows, 1, 4),
        ACTION.name: torch.randn(rows, w, 2), ACTION.name + ".is_pad": torch.zeros(rows, w, dtype=torch.bool),
    }  # fmt: skip
    policy.train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4, fused=fused)

    def step() -> float:
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            loss = policy.loss(batch, Noise(0))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def in_turns(runs: dict[str, Callable[[], Any]], turns: int, calls: int) -> dict[str, np.ndarray]:
    """Name -> (turns,) median seconds of a call; every turn runs each of them, the first turn warms up."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            times = []
            for _ in range(calls):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            if turn:
                found[name].append(float(np.median(times)))
    return {name: np.array(times) for name, times in found.items()}


def measure_latency(quick: bool) -> dict[str, np.ndarray]:
    plain, guided = make_policy(), make_policy(guidance=2.0)
    policies = {"ours": plain.prepared(), "reference": ReferencePolicy(plain).eval(), "guided": guided.prepared()}
    runs = {name: asker(policy) for name, policy in policies.items()}
    difference = float(np.abs(runs["ours"]() - runs["reference"]()).max())
    if not difference < 1e-4:
        raise SystemExit(f"The reference's action differs by {difference}, expected less than 1e-4.")
    return in_turns(runs, *((3, 10) if quick else (15, 40)))


def measure_training(quick: bool) -> dict[str, np.ndarray]:
    runs, rows = {}, QUICK_BATCH if quick else BATCH
    for name, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        policy = make_policy()
        runs[f"reference {name}"] = trainer(ReferencePolicy(policy), rows, False, precision)
        runs[name] = trainer(policy, rows, True, precision)
    return in_turns(runs, *((1, 1) if quick else (7, 3)))


def measure_import(quick: bool) -> tuple[dict[str, np.ndarray], bool]:
    """Seconds in fresh processes, and whether diffusers came along."""
    found: dict[str, list[float]] = {"robolearn.policies.beso": [], "torch": []}
    diffusers = False
    for _ in range(2 if quick else 7):
        for module, times in found.items():
            command = [sys.executable, "-c", IMPORT.format(module=module)]
            seconds, loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            times.append(float(seconds))
            diffusers |= loaded == "True"
    return {module: np.array(times) for module, times in found.items()}, diffusers


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args(argv).quick
    command = "python benchmarks/beso_speed.py" + (" --quick" if quick else "")
    figures: list[Figure] = []

    def add(name: str, values: np.ndarray, unit: str, notes: str, **config: Any) -> None:
        value = float(np.median(values))
        bounds = float(values.min()), float(values.max())
        figures.append(Figure(name, value, unit, len(values), command, bounds, config=config, notes=notes))
        print(f"{name:42s} {value:8.3f} {unit:4s} [{bounds[0]:.3f}, {bounds[1]:.3f}]")

    size = {"embed_dim": CONFIG.embed_dim, "layers": CONFIG.layers, "heads": CONFIG.heads, "window": CONFIG.obs_horizon,
            "weights": sum(p.numel() for p in make_policy().parameters())}  # fmt: skip

    cores = sorted(os.sched_getaffinity(0))
    torch.set_num_threads(1)
    os.sched_setaffinity(0, cores[:1])
    latency = measure_latency(quick)
    one = {**size, "threads": 1, "denoising_steps": CONFIG.sampling_steps}
    note = "whole predict_chunk of one row; interval: lowest and highest turn"
    add("beso.latency_ms", latency["ours"] * 1e3, "ms", note, **one)
    add("beso.latency_ms.reference", latency["reference"] * 1e3, "ms", note, **one)
    add("beso.latency_ms.guided", latency["guided"] * 1e3, "ms", note, **one, guidance=2.0)
    add("beso.speedup_vs_reference", latency["reference"] / latency["ours"], "1",
        "the same network and weights without cache or fusing; " + note, **one)  # fmt: skip
    add("beso.guidance_ratio", latency["guided"] / latency["ours"], "1", "guided over unguided; " + note, **one)

    os.sched_setaffinity(0, cores)
    threads = 1 if quick else usable_cores()
    torch.set_num_threads(threads)
    training = measure_training(quick)
    many = {**size, "threads": threads, "batch_size": QUICK_BATCH if quick else BATCH}
    note = "loss, gradients, clipping and AdamW on one batch; interval: lowest and highest turn"
    for name, precision in (("", "float32"), (".bfloat16", "bfloat16")):
        ratio = training[f"reference {precision}"] / training[precision]
        add(f"train.beso.speedup_vs_reference{name}", ratio, "1", f"both in {precision}; " + note, **many)
        add(f"train.beso.steps_per_s{name}", 1 / training[precision], "1/s", note, **many)
    add("train.beso.bfloat16_over_float32", training["float32"] / training["bfloat16"], "1", note, **many)

    imports, diffusers = measure_import(quick)
    if diffusers:
        raise SystemExit("Importing robolearn.policies.beso imports diffusers, expected it not to.")
    torch_s = float(np.median(imports["torch"]))
    add("import.beso_s", imports["robolearn.policies.beso"], "s",
        "fresh process, files in the page cache; without diffusers; interval: fastest and slowest",
        torch_alone_s=torch_s)  # fmt: skip
    print(f"{'import of torch alone':42s} {torch_s:8.3f} s")
    write_figures(results_file("beso_speed", quick), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
