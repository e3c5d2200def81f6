"""Recorded episodes on disk: writing, reading, sampling windows, normalising and converting."""
