"""robosuite where it is not installed, or beside a MuJoCo that it cannot run on: one line with the way out."""

from importlib import metadata

import pytest

from robolearn.core.errors import MissingDependencyError
from robolearn.sim.adapters.robosuite_import import import_robosuite


@pytest.fixture
def installed(monkeypatch):
    """Pretends that only these packages are."""

    def pretend(versions: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, "version", version)
        import_robosuite.cache_clear()

    yield pretend
    import_robosuite.cache_clear()


def test_without_robosuite_its_extra_is_named_whatever_mujoco_is_there(installed):
    installed({"mujoco": "4.0.0"})
    with pytest.raises(MissingDependencyError, match=r"package 'robosuite'.*pip install '\.\[robosuite\]' -c"):
        import_robosuite()


def test_beside_another_mujoco_the_versions_that_fit_are_named(installed):
    installed({"robosuite": "1.5.2", "mujoco": "3.10.0"})
    with pytest.raises(
        MissingDependencyError, match=r"mujoco 3\.10\.0 is installed.*pip install 'mujoco>=3\.3,<3\.10'"
    ):
        import_robosuite()
