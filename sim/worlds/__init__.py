"""Worlds of our own, one a file: arms on their bases, things, cameras."""
