"""`robolearn serve`: offer a trained policy to robots over a websocket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robolearn.core.config import parse
from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class ServeOptions:
    """Offer a policy over a websocket that openpi's clients understand. Stops on Ctrl-C.

    Attributes:
        policy: Checkpoint directory, or the output folder of `robolearn train`.
        host: Address to listen on; other than this machine's own needs a token.
        port: Port; 0 takes a free one and prints it.
        device: Where inference runs: auto (a CUDA device where there is one, else the processor), cpu, cuda or cuda:N.
        seed: Seed of the first client's random numbers; later clients count up.
        num_threads: Threads of one inference; small policies are fastest with 1.
        max_clients: Robots connected at the same time; further ones are refused.
        token_env: Environment variable that holds the token clients must send; unset = no token.
    """

    policy: Path
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "auto"
    seed: int = 0
    num_threads: int = 1
    max_clients: int = 32
    token_env: str = "ROBOLEARN_TOKEN"


def main(argv: list[str]) -> int:
    options = parse(
        ServeOptions,
        argv,
        prog="robolearn serve",
        description="Offer a policy over a websocket that openpi's clients understand.",
    )
    from concurrent.futures import ThreadPoolExecutor

    from robolearn.serving.server import ServerOptions, run_server, token_from_environment
    from robolearn.serving.session import warm_up

    if options.num_threads < 1:
        raise ConfigError(f"--num-threads must be at least 1, found {options.num_threads}.")
    # refuses an open host before the slow part
    listen = ServerOptions(
        options.host, options.port, token_from_environment(options.token_env), options.seed,
        max_clients=options.max_clients,
    )  # fmt: skip
    import torch

    from robolearn.execution.anchored import anchored, described_actions
    from robolearn.policies.checkpoint import load_policy
    from robolearn.policies.device import choose_device, describe_device

    torch.set_num_threads(options.num_threads)
    device = choose_device(options.device)
    policy = anchored(load_policy(options.policy, str(device)).prepared())

    def make_generator(seed: int) -> torch.Generator:
        return torch.Generator(device).manual_seed(seed)

    # the thread that will run inference must set its own number of threads, and be the one that is warmed up
    executor = ThreadPoolExecutor(1, "inference", torch.set_num_threads, (options.num_threads,))
    times_ms = executor.submit(warm_up, policy, make_generator).result()
    median_ms = sorted(times_ms)[len(times_ms) // 2]
    chosen = describe_device(options.device, device)
    if (actions := described_actions(policy)) is not None:
        print(actions, flush=True)
    print(f"{options.policy}: warm, {median_ms:.1f} ms an inference on {chosen}", flush=True)
    run_server(policy, listen, make_generator, executor, lambda line: print(line, flush=True))
    return 0
