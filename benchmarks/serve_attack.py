"""The policy server under attack: who has to wait, what breaks, and how much memory it takes.

    python benchmarks/serve_attack.py           writes benchmarks/results/serve_attack.json, some minutes
    python benchmarks/serve_attack.py --quick   few messages, to see that it works

A server process (a numpy policy that looks at two windows of a state and two 224 x 224 pictures, 0.6 MB a request), a
good client in a process of its own that asks without end and checks every answer, and an attacker.

serve.worst_block_ms         how much longer than its quiet p99 the good client waits because of one message: each worst
                             case and each of the slowest messages of the fuzzing 5 times, median, the worst of them
serve.fuzz_failures          crash, traceback or any other line on stderr, no answer and no close, a close without a
                             reason, a wrong answer to the good client, memory that is not given back
serve.peak_mb_under_attack   most resident memory of the server's process in all of it, and while as many clients as it
                             takes try to fill its buffers at once
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from serving_attack import cases
from serving_attack.attacker import SUSPECTS, Attacker, worst_cases
from serving_attack.fuzz import Case, Fuzzer
from serving_attack.good_client import GoodClient
from serving_attack.policy_server import SPEC
from serving_attack.raw_client import BINARY, PING, PONG, RawClient, frame
from serving_attack.victim import Victim

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures
from robolearn.serving import wire
from robolearn.serving.server import ServerOptions, largest_message

REPEATS = 5
KEPT_MB = 40.0  # that may stay with the allocator after everybody has gone


def fuzz(victim: Victim, good: GoodClient, count: int) -> Attacker:
    attacker, fuzzer = Attacker(victim.address), Fuzzer(victim.address.removeprefix("ws://"))
    for seed in range(count):
        attacker.run(fuzzer.case(seed))
        if seed % 5000 == 4999:
            print(
                f"  {seed + 1} messages, {len(attacker.failures)} failures, {victim.memory_mb()[0]:.0f} MB", flush=True
            )
        if not victim.alive or len(attacker.failures) > 200:
            break
    attacker.close()
    if not victim.alive:
        attacker.failures.append("the server died")
    attacker.failures += [f"the good client: {line}" for line in good.seen().failures]
    return attacker


@dataclass
class Blocks:
    """How long the good client waited beyond its quiet p99, by case: the median of the repeats, in ms."""

    quiet_ms: np.ndarray
    excess_ms: dict[str, float]


def measure_blocks(attacker: Attacker, good: GoodClient, suspects: list[Case]) -> Blocks:
    quiet: list[float] = []
    waits: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for case in suspects:
            good.seen()
            time.sleep(0.1)
            seen = good.seen()
            quiet += seen.latencies_ms
            attacker.run(case)
            attacker.close()
            time.sleep(0.02)
            seen = good.seen()
            attacker.failures += [f"the good client, {case.name}: {line}" for line in seen.failures]
            waits.setdefault(case.name, []).append(max(seen.latencies_ms, default=0.0))
    p99 = float(np.percentile(quiet, 99))
    return Blocks(np.array(quiet), {name: float(np.median(found)) - p99 for name, found in waits.items()})


def crowds(address: str) -> Iterator[tuple[str, Callable[[], list[RawClient]]]]:
    """As many clients as the server takes, each of which does the same; the good client has one of the places."""
    places = ServerOptions().max_clients - 1
    most = largest_message(SPEC)
    whole = frame(cases.request(a=bytes(most - 100)))

    def crowd(count: int, send: Callable[[RawClient], None], handshake: bool = True) -> list[RawClient]:
        clients = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                client = RawClient(address, 0.5, handshake=handshake)
                clients.append(client)
                send(client)
        return clients

    def raw(data: bytes) -> Callable[[RawClient], None]:
        return lambda client: client.socket.sendall(data)

    opening = cases.openings("x")["half an opening"] + b"x: " + b"y" * 8000 + b"\r\n" + b"z: " + b"y" * 4000
    yield "unfinished messages", lambda: crowd(places, raw(whole[:-1]))
    yield "large messages without reading", lambda: crowd(places, raw(whole * 3))
    pictures = frame(wire.pack({"__op__": "infer", **cases.real_observation()}))
    yield "requests without reading", lambda: crowd(places, raw(pictures * 30))
    single = {name: value[-1] for name, value in cases.real_observation().items()}
    samples = b"".join(
        frame(wire.pack({"__op__": "infer", "__t_obs__": time_s, **single})) for time_s in np.arange(0.0, 0.2, 0.0125)
    )
    yield "samples for windows", lambda: crowd(places, raw(samples))
    yield "9999 values without reading", lambda: crowd(places, raw(frame(cases.request(a=[1.5] * 9_980)) * 50))
    yield "full pings without reading", lambda: crowd(places, raw(frame(bytes(125), PING) * 40_000))
    yield "pieces", lambda: crowd(places, raw(frame(b"", BINARY, fin=False) + frame(bytes(4000), 0, fin=False) * 1000))
    yield "pongs", lambda: crowd(places, raw(frame(bytes(125), PONG) * 40_000))
    yield "openings that do not end", lambda: crowd(200, raw(opening), handshake=False)


def swell(victim: Victim, good: GoodClient) -> list[str]:
    failures = []
    for name, make in crowds(victim.address):
        clients = make()
        time.sleep(0.5)
        print(f"  {name}: {len(clients)} clients, {victim.memory_mb()[0]:.0f} MB", flush=True)
        for client in clients:
            client.close()
        failures += [f"the good client, {name}: {line}" for line in good.seen().failures]
    return failures


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    count = 1000 if options.quick else 50_000
    command = "python benchmarks/serve_attack.py" + (" --quick" if options.quick else "")
    with Victim() as victim:
        with GoodClient(victim.address, pause_s=0.02) as good:
            time.sleep(1.0)
            before_mb, _ = victim.memory_mb()
            attacker = fuzz(victim, good, count)
            swollen = swell(victim, good)
        with GoodClient(victim.address, pause_s=0.0005) as good:
            chosen = [case for _, case in attacker.suspects()][: 3 if options.quick else SUSPECTS]
            handmade = worst_cases(victim.address)
            blocks = measure_blocks(attacker, good, (handmade[::8] if options.quick else handmade) + chosen)
        time.sleep(2.0)
        after_mb, peak_mb = victim.memory_mb()
        failures = attacker.failures + swollen + [f"stderr: {line}" for line in victim.errors()[:20]]
        if after_mb - before_mb > KEPT_MB:
            failures.append(f"memory: {before_mb:.0f} MB before, {after_mb:.0f} MB after everybody has gone")
    for line in failures[:50]:
        print(f"  FAILED: {line}")
    ranked = sorted(blocks.excess_ms.items(), key=lambda entry: -entry[1])
    p50, p99 = (float(np.percentile(blocks.quiet_ms, q)) for q in (50, 99))
    for name, excess in ranked[:8]:
        print(f"  {excess:7.1f} ms beyond the quiet p99: {name}")
    worst, worst_ms = ranked[0]
    print(f"worst block {worst_ms:.1f} ms ({worst}); quiet p50 {p50:.1f}, p99 {p99:.1f} ms")
    print(f"{len(failures)} failures of {count} fuzzed messages; {before_mb:.0f} MB before, {after_mb:.0f} MB after, "
          f"{peak_mb:.0f} MB at most")  # fmt: skip
    sizes = {"max_message_bytes": largest_message(SPEC), "max_clients": ServerOptions().max_clients}
    figures = [
        Figure(
            "serve.worst_block_ms", worst_ms, "ms", REPEATS * len(ranked), command,
            config={"quiet_p50_ms": p50, "quiet_p99_ms": p99, "worst": dict(ranked[:10]), **sizes},
            notes=f"worst of {len(ranked)} cases: {worst}; negative: not even the quiet p99 was reached",
        ),
        Figure(
            "serve.fuzz_failures", len(failures), "1", count, command, seeds=(0,), config=sizes,
            notes="45 % changed in structure, 30 % in bytes, 10 % random, 10 % frames, 5 % openings; the worst cases "
            "and the crowds count too",
        ),
        Figure(
            "serve.peak_mb_under_attack", peak_mb, "MB", 1, command,
            config={"before_mb": before_mb, "after_mb": after_mb, **sizes},
            notes="VmHWM of the server's process, interpreter and numpy policy included (no torch)",
        ),
    ]  # fmt: skip
    write_figures(results_file("serve_attack", options.quick), figures)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
