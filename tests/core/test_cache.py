"""Where files are kept that can be had again."""

from pathlib import Path

import pytest

from robolearn.core.cache import cache_folder
from robolearn.core.errors import ConfigError


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/data/models", "/var/cache", "/data/models"),
        (None, "/var/cache", "/var/cache/robolearn"),
        (None, "not/absolute", "/home/someone/.cache/robolearn"),
        (None, None, "/home/someone/.cache/robolearn"),
        ("", "", "/home/someone/.cache/robolearn"),
    ],
)
def test_the_users_choice_comes_before_the_systems(monkeypatch, own, shared, expected):
    monkeypatch.setenv("HOME", "/home/someone")
    for variable, value in (("ROBOLEARN_CACHE", own), ("XDG_CACHE_HOME", shared)):
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    assert cache_folder() == Path(expected)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ROBOLEARN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="set ROBOLEARN_CACHE to a folder"):
        cache_folder()
