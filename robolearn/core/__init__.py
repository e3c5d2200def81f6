"""Vocabulary shared by every part: features, rotations, clock, errors, configuration.

At import time this package needs numpy and the standard library only.
"""
