"""Damage done to datasets and journals, and whether a dataset is sound."""

from robolearn.datasets.checks import validate


def flip(file, place=0):
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.unlink()
    file.write_bytes(data)


def is_sound(path):
    return not [finding for finding in validate(path) if finding.severity == "error"]
