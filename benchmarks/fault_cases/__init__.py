"""The small inputs of `../shared/cases`, and what is right for each; see `benchmarks/cases.py`."""
