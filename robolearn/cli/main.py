"""`robolearn VERB ...`: finds the verb, runs it and turns errors into one line and an exit status.

Nothing heavy is imported here, and a verb's module only when that verb is asked for. Exit status: what the
verb returns (0 = fine, 1 = it ran and found something bad, 3 = some of its episodes were aborted, 4 = some are
unjudged), 2 for a user's mistake or an error in a user's own code,
70 for a bug of ours, 130 after Ctrl-C. `--debug`, anywhere on the line, shows whole tracebacks.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence

# numpy's matrices here are small: a second BLAS thread makes a 6 x 6 solve 5 times slower, 500 times on a busy machine
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# torch's threads spin while they wait for one another, also for one whose core another program has: training beside one
# or three others was 2 and 30 times slower; to sleep after so many turns costs nothing measurable on a quiet machine
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from robolearn import __version__
from robolearn.core.errors import ConfigError, closest
from robolearn.core.failure import (
    BUG_STATUS,
    DEBUG,
    UnexpectedError,
    debugging,
    explained,
    is_users,
    tell,
    traceback_of,
)
from robolearn.core.interrupt import StoppedError, stopped_in_order
from robolearn.core.registry import Registry
from robolearn.core.terminal import outlive_terminal

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
        [
            *lines,
            "",
            "robolearn VERB --help shows the options of a verb; robolearn --version the version;",
            "--debug, with any verb, the whole traceback of an error.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    _mend_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--debug" in arguments:
        os.environ[DEBUG] = "1"
        arguments = [word for word in arguments if word != "--debug"]
    threading.excepthook = _tell_of_thread
    with stopped_in_order():
        return run_told(lambda: _dispatch(arguments))


def run_told(run: Callable[[], int]) -> int:
    """Call `run`, which returns an exit status; an exception becomes one line and the status that stands for it."""
    try:
        status = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader (`| head`) has left; keep the interpreter from complaining about it again at exit
        _forget_stdout()
        return 0
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and (isinstance(error, StoppedError) or not is_users(error)):
            raise
        # sys.exit(0) in a check of another package would pass for a sound dataset
        if isinstance(error, OSError) and error.filename is None:
            _forget_stdout()  # perhaps that is what is full
        told = explained(error)
        if debugging():
            print(told.details if isinstance(told, UnexpectedError) else traceback_of(error), file=sys.stderr)
        print(f"error: {told}", file=sys.stderr)
        return BUG_STATUS if isinstance(told, UnexpectedError) and told.ours else 2
    return status


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """A thread's exception in one line: it ends the thread, and nobody else hears of it."""
    if failed.exc_value is None or isinstance(failed.exc_value, SystemExit):
        return
    tell(failed.exc_value, "" if failed.thread is None else f"thread {failed.thread.name!r}")


def _mend_streams() -> None:
    """Standard streams that were closed, or cannot write every character: no file of ours may get their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", errors="replace"))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold any bytes
    outlive_terminal()


def _forget_stdout() -> None:
    """Nothing that is still to be written there is, and nobody complains of it at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.close(sink)


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
        raise ConfigError(f"unknown verb {verb!r}.{hint} See: robolearn --help")
    from robolearn.core.process import adopt_parent_from_environment

    adopt_parent_from_environment()
    run = VERBS.resolve(verb)
    return int(run(rest) or 0)
