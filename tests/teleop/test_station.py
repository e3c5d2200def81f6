"""Opening a station: what cannot work is said before anything is recorded, and nothing is left open."""

from __future__ import annotations

import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.sim import rendering
from robolearn.teleop.station import StationConfig, open_station


def scripted(**options) -> StationConfig:
    return StationConfig("put_on_plate", "scripted", viewer=False, **options)


@pytest.mark.parametrize("fps", [0.0, -20.0, float("nan"), 1e9])
def test_a_rate_that_cannot_be_is_refused(fps):
    with pytest.raises(ConfigError, match="does not divide the physics rate"), open_station(scripted(fps=fps)):
        pass


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed must be at least 0, found -1"), open_station(scripted(seed=-1)):
        pass


def test_a_camera_where_nothing_can_render_is_refused_with_the_way_out(monkeypatch):
    nothing = rendering.RenderingChoice(None, "no GPU was found and OSMesa is not installed")
    monkeypatch.setattr(rendering, "choose_backend", lambda: nothing)
    with pytest.raises(MissingDependencyError, match="apt-get install"), open_station(scripted(cameras=("front",))):
        pass
