"""A policy server under attack: hostile messages and streams. Used by `benchmarks/serve_attack.py` and by the tests."""
