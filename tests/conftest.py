"""Settings for all tests: property tests are repeatable in CI and have no deadline on a shared machine; signals are
heeded, whoever starts the tests.
"""

import os
import signal

from hypothesis import settings

# Tests compute little and often beside other processes: more threads only wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# In the background of a script, or under nohup, these are ignored, and the programs that tests start would inherit it.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
