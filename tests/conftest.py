"""Settings for all tests: property tests are repeatable in CI and have no deadline on a shared machine."""

import os

from hypothesis import settings

# Tests compute little and often beside other processes: more threads only wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
