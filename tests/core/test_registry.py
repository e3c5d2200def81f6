import re
import shutil
from typing import Protocol

import pytest

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.core.failure import UnexpectedError
from robolearn.core.interrupt import StoppedError
from robolearn.core.pins import install_line
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


def test_an_entry_may_need_another_extra_than_the_rest():
    entries = {"plain": "no_such_module_anywhere:A", "heavy": "no_such_module_anywhere:B"}
    registry = Registry("scene", entries, extra="sim", extras={"heavy": "robosuite"})
    for name, extra in (("plain", "sim"), ("heavy", "robosuite")):
        with pytest.raises(MissingDependencyError, match=re.escape(install_line(extra))):
            registry.resolve(name)


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


def test_an_installed_package_adds_names_of_its_own(install):
    install("a_neighbour", {"robolearn.policies": {"nearest": "a_neighbour:Nearest"}}, "class Nearest: k = 3")
    registry = Registry("policy", {"beso": "a:b"}, group="robolearn.policies")
    assert dict(registry) == {"beso": "a:b", "nearest": "a_neighbour:Nearest"}
    assert "nearest" in registry
    assert len(registry) == 2
    assert registry.resolve("nearest").k == 3
    with pytest.raises(ConfigError, match=re.escape("Did you mean 'nearest'? Known: beso, nearest.")):
        registry.resolve("nearst")


def test_names_of_other_groups_and_registries_without_one_stay_apart(install):
    install("a_scene", {"robolearn.environments": {"kitchen": "a_scene:Kitchen"}})
    assert "kitchen" not in Registry("policy", {}, group="robolearn.policies")
    assert "kitchen" not in Registry("environment", {})


def test_a_name_that_is_there_already_is_not_replaced_by_a_package(install):
    install("a_thief", {"robolearn.policies": {"json": "a_thief:loads"}})
    registry = Registry("policy", {"json": "json:dumps"}, group="robolearn.policies")
    assert dict(registry) == {"json": "json:dumps"}
    assert registry.resolve("json")([1]) == "[1]"


def test_two_packages_that_declare_the_same_name_are_refused_and_named(install):
    install("one_knn", {"robolearn.policies": {"knn": "one_knn:Knn", "mean": "one_knn:Mean"}}, "class Mean: pass")
    install("two_knn", {"robolearn.policies": {"knn": "two_knn:Knn"}})
    registry = Registry("policy", {}, group="robolearn.policies")
    one, two = ("as one_knn:Knn by the package 'one_knn'", "as two_knn:Knn by 'two_knn'")
    with pytest.raises(ConfigError, match=re.escape(f"The policy 'knn' is declared twice, {one} and {two}; uninstall")):
        registry.resolve("knn")
    assert sorted(registry) == ["knn", "mean"]
    assert registry.resolve("mean").__name__ == "Mean", "what is declared once is there all the same"


def test_a_package_that_is_found_twice_declares_nothing_twice(install, tmp_path, monkeypatch):
    install("a_neighbour", {"robolearn.policies": {"nearest": "a_neighbour:Nearest"}}, "class Nearest: k = 3")
    shutil.copytree(tmp_path / "site", tmp_path / "again")
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    assert Registry("policy", {}, group="robolearn.policies").resolve("nearest").k == 3


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("a_wrong", ConfigError, "'a_wrong' of policy 'knn' is not of the form 'module:attribute'."),
        ("a_wrong:Kn", ConfigError, "policy 'knn' is a_wrong:Kn, but that module has no 'Kn'."),
        ("no_such_module_anywhere:Knn", MissingDependencyError, "needs the package 'no_such_module_anywhere', which"),
    ],
)
def test_what_a_package_declares_wrongly_is_an_error_of_one_line_that_names_it(install, target, kind, message):
    install("a_wrong", {"robolearn.policies": {"knn": target}}, "class Knn: pass")
    with pytest.raises(kind, match=re.escape(message)) as error:
        Registry("policy", {}, extra="train", group="robolearn.policies").resolve("knn")
    assert str(error.value).endswith(" The package 'a_wrong' declares it, in robolearn.policies.")
    assert "[train]" not in str(error.value), "our extra does not bring what another package needs"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import json\njson.no_such_function", "AttributeError: module 'json' has no attribute 'no_such_function' at"),
        ("class Knn(", "SyntaxError: "),
        ("from robolearn.core.registry import Regstry", "ImportError: cannot import name 'Regstry'"),
        ("import sys\nimport json; sys.exit(0)", "SystemExit: 0 at"),
        ("import robolearn.no_such_module", "ModuleNotFoundError: No module named 'robolearn.no_such_module' at"),
    ],
)
def test_a_module_of_a_package_that_cannot_be_imported_is_told_with_package_file_and_line(
    install, tmp_path, code, said
):
    module = f"a_bug_{len(code)}"
    install(module, {"robolearn.policies": {"knn": f"{module}:Knn"}}, code)
    with pytest.raises(UnexpectedError) as error:
        Registry("policy", {}, group="robolearn.policies").resolve("knn")
    told = str(error.value)
    assert told.startswith(f"The policy 'knn' of the package {module!r} cannot be imported: {said}")
    assert f"{tmp_path / 'site' / module}.py, line {2 if 'json' in code else 1}" in told
    assert not error.value.ours


def test_a_signal_while_a_package_is_imported_ends_the_program(install):
    code = "from robolearn.core.interrupt import StoppedError\nraise StoppedError(143)"
    install("slow_one", {"robolearn.policies": {"knn": "slow_one:Knn"}}, code)
    with pytest.raises(StoppedError):
        Registry("policy", {}, group="robolearn.policies").resolve("knn")


def test_a_module_of_our_own_that_cannot_be_imported_is_not_explained_away(tmp_path, monkeypatch):
    (tmp_path / "a_bug_of_ours.py").write_text("raise ValueError('no')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="no"):
        Registry("policy", {"knn": "a_bug_of_ours:Knn"}).resolve("knn")


def test_a_thing_that_lacks_what_its_kind_has_is_refused_with_what_is_missing(install):
    code = "class Pad:\n    name = 'pad'\n    def read(self): ..."
    install("a_half", {"robolearn.pads": {"pad": "a_half:Pad"}}, code)
    registry = Registry("pad", {}, group="robolearn.pads")
    registry.require("pad", registry.resolve("pad"), Named)
    missing = "The pad 'pad' (a_half:Pad) lacks rate_hz, connect, which every pad has; see "
    with pytest.raises(ConfigError, match=re.escape(missing)) as error:
        registry.require("pad", registry.resolve("pad"), Device)
    assert str(error.value).endswith(".Device. The package 'a_half' declares it, in robolearn.pads.")


class Named(Protocol):
    name: str


class Device(Protocol):
    rate_hz: float

    @property
    def name(self) -> str: ...

    def connect(self) -> None: ...

    def read(self) -> None: ...


def test_an_attribute_may_lie_in_another(install):
    install("a_shelf", {"robolearn.policies": {"knn": "a_shelf:Shelf.Knn"}}, "class Shelf:\n    class Knn: k = 5")
    assert Registry("policy", {}, group="robolearn.policies").resolve("knn").k == 5


def test_a_package_whose_name_begins_like_ours_is_not_taken_for_it():
    with pytest.raises(MissingDependencyError, match="needs the package 'robolearn_knn'"):
        Registry("policy", {"knn": "robolearn_knn:Knn"}).resolve("knn")
