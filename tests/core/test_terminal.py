"""A real terminal that is closed while a program prints to it."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import textwrap


def on_a_terminal(program: str, *arguments: str) -> tuple[subprocess.Popen, int]:
    """A python program whose input, output and error are a terminal of its own; gives the other end, too."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def read_until(terminal: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += os.read(terminal, 1024)
    return seen


TALKER = """
    import sys, time
    from pathlib import Path
    from robolearn.core.interrupt import StopRequest
    from robolearn.core.terminal import outlive_terminal
    {mend}
    with StopRequest() as stop:
        print("ready")
        while not stop():
            print("still here", file=sys.stderr)
            time.sleep(0.001)
    for _ in range(100):
        print("farewell")
        print("farewell", file=sys.stderr)
    Path(sys.argv[1]).write_text("done")
    sys.exit(stop.exit_status)
"""


def test_a_program_whose_terminal_is_closed_says_its_farewell_to_nobody_and_finishes(tmp_path):
    process, terminal = on_a_terminal(TALKER.format(mend="outlive_terminal()"), str(tmp_path / "end"))
    read_until(terminal, b"ready")
    os.close(terminal)
    assert process.wait(timeout=20) == 128 + signal.SIGHUP
    assert (tmp_path / "end").read_text() == "done"


def test_without_that_the_farewell_would_have_ended_it(tmp_path):
    process, terminal = on_a_terminal(TALKER.format(mend=""), str(tmp_path / "end"))
    read_until(terminal, b"ready")
    os.close(terminal)
    assert process.wait(timeout=20) != 128 + signal.SIGHUP
    assert not (tmp_path / "end").exists()


def test_output_that_is_no_terminal_is_left_as_it_is():
    program = """
        import sys
        from robolearn.core.terminal import outlive_terminal
        streams = sys.stdout, sys.stderr
        outlive_terminal()
        print((sys.stdout, sys.stderr) == streams)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"


def test_what_is_printed_to_a_terminal_arrives_line_by_line():
    program = """
        import sys
        from robolearn.core.terminal import outlive_terminal
        outlive_terminal()
        print("grüße", sys.stdout.isatty(), sys.stderr.isatty())
        sys.stdin.readline()
        print("no new line", end="")
    """
    process, terminal = on_a_terminal(program)
    assert "grüße True True".encode() in read_until(terminal, b"\n")
    os.write(terminal, b"\n")
    read_until(terminal, b"no new line")
    assert process.wait(timeout=20) == 0
    os.close(terminal)
