"""Robots that scenes of our own are composed from."""
