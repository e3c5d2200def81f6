import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.core.registry import Registry


def test_an_entry_is_imported_when_it_is_resolved():
    assert Registry("encoder", {"json": "json:dumps"}).resolve("json")([1]) == "[1]"


def test_nothing_is_imported_before():
    assert list(Registry("encoder", {"broken": "no_such_module_anywhere:x"})) == ["broken"]


def test_an_unknown_name_is_answered_with_the_closest_and_the_list():
    registry = Registry("policy", {"beso": "a:b", "diffusion": "c:d"})
    with pytest.raises(ConfigError) as error:
        registry.resolve("difusion")
    assert str(error.value) == "Unknown policy 'difusion'. Did you mean 'diffusion'? Known: beso, diffusion."


def test_a_missing_package_is_answered_with_the_extra_that_brings_it():
    registry = Registry("camera", {"fancy": "no_such_module_anywhere:Camera"}, extra="realsense")
    with pytest.raises(MissingDependencyError, match=r"needs the package 'no_such_module_anywhere'.*\.\[realse"):
        registry.resolve("fancy")


def test_a_missing_module_of_our_own_is_a_bug_and_not_hidden():
    with pytest.raises(ModuleNotFoundError):
        Registry("policy", {"gone": "robolearn.no_such_module:X"}, extra="train").resolve("gone")


def test_registering_a_name_twice_is_refused():
    registry = Registry("policy", {"beso": "a:b"})
    with pytest.raises(ConfigError, match=r"registered already, as a:b"):
        registry.register("beso", "c:d")


@pytest.mark.parametrize("target", ["module", "a:b:c"])
def test_a_malformed_target_is_refused(target):
    with pytest.raises(ConfigError, match="module:attribute"):
        Registry("policy", {"x": target})


def test_a_registry_reads_like_a_mapping_of_names_to_targets():
    registry = Registry("policy", {"beso": "a:b"})
    assert "beso" in registry
    assert registry["beso"] == "a:b"
    assert dict(registry) == {"beso": "a:b"}
    assert len(registry) == 1
