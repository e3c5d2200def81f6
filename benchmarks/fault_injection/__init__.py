"""Faults on purpose: damaged bytes, killed processes, power cuts. Used by `benchmarks/faults.py` and by the tests."""
