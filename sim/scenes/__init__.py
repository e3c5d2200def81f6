"""Scenes of our own: one task a file."""
