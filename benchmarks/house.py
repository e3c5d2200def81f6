"""The house: imports that point upwards, and modules that import one another, over the whole package.

    python benchmarks/house.py

Figures go to benchmarks/results/house.json. Read are the files themselves, the symlinked folders included, with the
imports inside functions and those for type checkers; nothing is imported.
"""

from __future__ import annotations

import argparse
import sys

from _import_graph import MAY_IMPORT, ROOMS, circles, import_graph, upward_arrows

from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Count imports that point upwards, and circles of imports.")
    parser.add_argument("--quick", action="store_true", help="the same; it takes seconds")
    options = parser.parse_args(argv)
    graph = import_graph()
    arrows = sum(map(len, graph.values()))
    wrong, groups = upward_arrows(), circles(graph)
    for line in wrong + [" <-> ".join(group) for group in groups]:
        print(line, file=sys.stderr)
    config = {
        "modules": len(graph), "imports": arrows, "parts": list(MAY_IMPORT),
        "rooms": {part: list(rooms) for part, rooms in ROOMS.items()},
    }  # fmt: skip
    command = "python benchmarks/house.py"
    write_figures(results_file("house", options.quick), [
        Figure("house.upward_arrows", len(wrong), "1", arrows, command, config=config,
               notes="imports that neither the order of the parts nor that of the rooms within one allows"),
        Figure("house.circles", len(groups), "1", len(graph), command, config=config,
               notes="groups of modules that import one another, directly or not"),
    ])  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
