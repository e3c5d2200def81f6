"""Signals as a shell, a service manager or a cut connection sends them, at real processes."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from robolearn.core.interrupt import StopRequest, stopped_in_order


@pytest.fixture(autouse=True)
def handlers():
    """Signals of the tests' own process are handled afterwards as before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


PROGRAM = """
    import sys, time
    from robolearn.core.interrupt import StopRequest, stopped_in_order

    with stopped_in_order():
        try:
            print("ready", flush=True)
            time.sleep(30)
        finally:
            print("cleaning", flush=True)
            sys.stdin.readline()
            print("clean", flush=True)
"""


class Program:
    """A python program, talked to by lines."""

    def __init__(self, text: str, **options):
        command = [sys.executable, "-c", textwrap.dedent(text)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def hear(self) -> str:
        return self.process.stdout.readline().strip()

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.process.send_signal(number)

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate("\n", timeout=20)
        return self.process.returncode, out.strip(), err


def test_a_signal_is_noted_and_the_second_interrupt_acts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() and stop.exit_status == 143
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_passes_every_finally_and_the_same_again_does_not_cut_it_short(number, status):
    program = Program(PROGRAM)
    assert program.hear() == "ready"
    program.send(number)
    assert program.hear() == "cleaning"
    program.send(number, signal.SIGHUP, signal.SIGTERM)  # the shell and the kernel both tell of a hangup
    assert program.finish() == (status, "clean", "")


@pytest.mark.parametrize("first", ["noted in a loop", "raised"])
def test_the_same_signal_while_the_program_is_ending_changes_nothing(first):
    program = Program(
        f"""
        import os, signal
        from robolearn.core.interrupt import StopRequest, stopped_in_order
        with stopped_in_order():
            if {first!r} == "raised":
                os.kill(os.getpid(), signal.SIGHUP)
            with StopRequest() as stop:
                os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        raise SystemExit(stop.exit_status)
        """
    )
    assert program.finish() == (129, "", "")


def test_ctrl_c_cuts_cleaning_up_short():
    program = Program(PROGRAM)
    assert program.hear() == "ready"
    program.send(signal.SIGTERM)
    assert program.hear() == "cleaning"
    program.send(signal.SIGINT)
    program.process.stdin.flush()
    status, out, err = program.finish()
    assert "KeyboardInterrupt" in err and "clean" not in out
    assert status == -signal.SIGINT


def test_under_nohup_a_closed_terminal_changes_nothing():
    program = Program(PROGRAM, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert program.hear() == "ready"
    program.send(signal.SIGHUP, signal.SIGHUP)
    program.send(signal.SIGTERM)
    assert program.finish()[0] == 143


def test_who_heard_of_a_stop_in_a_loop_is_not_told_again_on_the_way_out():
    with stopped_in_order():
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.exit_status == 129
        os.kill(os.getpid(), signal.SIGHUP)  # would raise SystemExit
        os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_given_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with stopped_in_order():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_workers_do_not_hear_what_a_terminal_sends_to_all_but_do_hear_sigterm():
    program = Program(
        """
        import os, signal, subprocess, sys
        from robolearn.core.interrupt import spared_children
        talk = "import sys; print('ready', flush=True); sys.stdin.readline(); print('alive', flush=True); input()"
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with spared_children():
            child = subprocess.Popen([sys.executable, "-c", talk], **pipes)
        assert child.stdout.readline() == "ready\\n"
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
            os.killpg(0, number)
        print(child.stdin.write("\\n"), child.stdin.flush(), child.stdout.readline().strip())
        child.terminate()
        print(child.wait())
        """,
        start_new_session=True,
    )
    assert program.finish() == (0, f"1 None alive\n{-signal.SIGTERM}", "")
