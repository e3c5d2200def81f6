import re

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


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package, as pip does: its modules, and beside them a folder that says what it declares."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package, group, points, code=None):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        declared = "".join(f"{name} = {target}\n" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{declared}")
        if code is not None:
            (tmp_path / f"{package}.py").write_text(code)

    return write


def test_an_installed_package_adds_names_of_its_own(install):
    install("a_neighbour", "robolearn.policies", {"nearest": "a_neighbour:Nearest"}, "class Nearest: k = 3")
    registry = Registry("policy", {"beso": "a:b"}, group="robolearn.policies")
    assert dict(registry) == {"beso": "a:b", "nearest": "a_neighbour:Nearest"}
    assert "nearest" in registry
    assert len(registry) == 2
    assert registry.resolve("nearest").k == 3
    with pytest.raises(ConfigError, match=re.escape("Did you mean 'nearest'? Known: beso, nearest.")):
        registry.resolve("nearst")


def test_names_of_other_groups_and_registries_without_one_stay_apart(install):
    install("a_scene", "robolearn.environments", {"kitchen": "a_scene:Kitchen"})
    assert "kitchen" not in Registry("policy", {}, group="robolearn.policies")
    assert "kitchen" not in Registry("environment", {})


def test_a_name_that_is_there_already_is_not_replaced_by_a_package(install):
    install("a_thief", "robolearn.policies", {"json": "a_thief:loads"})
    registry = Registry("policy", {"json": "json:dumps"}, group="robolearn.policies")
    assert dict(registry) == {"json": "json:dumps"}
    assert registry.resolve("json")([1]) == "[1]"


def test_two_packages_that_declare_the_same_name_are_refused(install):
    install("one_knn", "robolearn.policies", {"knn": "one_knn:Knn"})
    install("two_knn", "robolearn.policies", {"knn": "two_knn:Knn"})
    with pytest.raises(ConfigError, match=r"policy 'knn' is declared twice, as (one|two)_knn:Knn and (one|two)_knn"):
        Registry("policy", {}, group="robolearn.policies").resolve("knn")


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("a_wrong", ConfigError, "'a_wrong' of policy 'knn' is not of the form 'module:attribute'"),
        ("a_wrong:Kn", ConfigError, "policy 'knn' is a_wrong:Kn, but that module has no 'Kn'"),
        ("no_such_module_anywhere:Knn", MissingDependencyError, "needs the package 'no_such_module_anywhere'"),
    ],
)
def test_what_a_package_declares_wrongly_is_an_error_of_one_line(install, target, kind, message):
    install("a_wrong", "robolearn.policies", {"knn": target}, "class Knn: pass")
    with pytest.raises(kind, match=re.escape(message)) as error:
        Registry("policy", {}, extra="train", group="robolearn.policies").resolve("knn")
    assert "[train]" not in str(error.value), "our extra does not bring what another package needs"


def test_a_package_whose_name_begins_like_ours_is_not_taken_for_it():
    with pytest.raises(MissingDependencyError, match="needs the package 'robolearn_knn'"):
        Registry("policy", {"knn": "robolearn_knn:Knn"}).resolve("knn")
