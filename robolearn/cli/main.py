"""`robolearn VERB ...`: finds the verb, runs it and turns errors into one line and an exit status.

Nothing heavy is imported here, and a verb's module only when that verb is asked for. Exit status: what the
verb returns (0 = fine, 1 = it ran and found something bad), 2 for a user's mistake, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# numpy's matrices here are small: a second BLAS thread makes a 6 x 6 solve 5 times slower, 500 times on a busy machine
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# torch's threads spin while they wait for one another, also for one whose core another program has: training beside one
# or three others was 2 and 30 times slower; to sleep after so many turns costs nothing measurable on a quiet machine
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from robolearn import __version__
from robolearn.core.errors import RobolearnError, closest
from robolearn.core.registry import Registry

# group -> verb -> what it does
GROUPS: dict[str, dict[str, str]] = {
    "Start here": {
        "demo": "the whole chain on the simulated arm: record, train, evaluate, serve, deploy, report",
        "doctor": "what is installed, how rendering will work, which devices are seen, what clashes",
    },
    "Data": {
        "teleop": "drive an arm by hand without recording",
        "record": "collect episodes into a dataset",
        "replay": "play recorded episodes back, by states or by actions",
        "dataset": "view, validate, repair, edit, split, merge, convert and more; robolearn dataset --help lists all",
    },
    "Policies": {
        "train": "train a policy on a dataset",
        "eval": "roll a policy out from fixed start states, with intervals and videos",
    },
    "Robots": {
        "serve": "offer a policy to robots over a websocket",
        "deploy": "run an arm in real time from a policy server",
    },
    "Results": {
        "compare": "compare runs: learning curves, success with intervals, paired tests",
        "report": "print the measured figures as one table",
    },
}

# of rendering, and of opencv-python, which is linked against GL and glib whatever it is used for
LIBRARIES = "apt-get update && apt-get install -y --no-install-recommends libgl1 libegl1 libosmesa6 libglib2.0-0"

VERBS = Registry(
    "verb", {verb: f"robolearn.cli.{verb}:main" for verbs in GROUPS.values() for verb in verbs}, extra="all"
)


def usage() -> str:
    """One line a verb, in groups."""
    width = max(map(len, VERBS))
    lines = ["robolearn: from teleoperation to a policy that runs on the arm.", "", "Usage: robolearn VERB [OPTIONS]"]
    for group, verbs in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {verb:<{width}}  {what}" for verb, what in verbs.items()]
    return "\n".join(
        [*lines, "", "robolearn VERB --help shows the options of a verb; robolearn --version the version."]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
    except RobolearnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "robolearn":
            raise
        print(
            f"error: the package {error.name!r} is not installed; pip install '.[all]' -c constraints.txt",
            file=sys.stderr,
        )
        return 2
    except ImportError as error:
        library, _, reason = str(error).partition(": cannot open shared object file")
        if not reason:
            raise
        print(f"error: the system library {library} is missing; on Debian, as root: {LIBRARIES}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader (`| head`) has left; keep the interpreter from complaining about it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        print(f"error: {error.filename}: {error.strerror.lower()}.", file=sys.stderr)
        return 2
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"robolearn {__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        guess = closest(verb, VERBS)
        hint = f" Did you mean {guess!r}?" if guess else ""
        print(f"error: unknown verb {verb!r}.{hint} See: robolearn --help", file=sys.stderr)
        return 2
    from robolearn.core.process import adopt_parent_from_environment

    adopt_parent_from_environment()
    run = VERBS.resolve(verb)
    return int(run(rest) or 0)
