"""Formats of other packages: found out like ours, and in nobody's way where they are wrong."""

import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.failure import UnexpectedError
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.convert.registry import detect_format, find_format, load_converter

WHOLE = """
def detect(source):
    return (source / "mine.txt").exists()

describe = open_source = open_witness = detect
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def with_importer(install, code, package="a-lab", name="mine"):
    module = package.replace("-", "_")
    install(package, {"robolearn.importers": {name: f"{module}:open_source"}}, code)


def test_a_format_of_a_package_is_found_out(install, folder):
    with_importer(install, WHOLE)
    with pytest.raises(DatasetError, match="is not in a format that can be read") as error:
        detect_format(folder)
    assert "could not be asked" not in str(error.value)
    (folder / "mine.txt").touch()
    assert detect_format(folder) == "mine"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero at"),
        ("import no_such_module_anywhere", "needs the package 'no_such_module_anywhere'"),
        ("open_source = detect = len", "lacks describe, open_witness, which every dataset format has; see robolearn."),
        (WHOLE.replace("return", "return exit(0) and"), "SystemExit: 0 at"),
        (WHOLE.replace("return", "return 1 / 0 and"), "ZeroDivisionError: division by zero at"),
    ],
)
def test_a_format_that_cannot_be_asked_hides_no_other_and_is_named_where_none_is_found(install, folder, code, said):
    with_importer(install, code)
    with_importer(install, WHOLE, "b-lab", "other")
    with pytest.raises(DatasetError, match="is not in a format that can be read") as error:
        detect_format(folder)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert "The format 'mine' of the package 'a-lab' could not be asked: " in str(error.value)
    (folder / "mine.txt").touch()
    assert find_format(folder) == detect_format(folder) == "other"


def test_a_format_that_is_asked_for_by_name_says_what_is_wrong_with_it(install):
    with_importer(install, "1 / 0")
    with pytest.raises(UnexpectedError, match="The dataset format 'mine' of the package 'a-lab' cannot be imported: Z"):
        load_converter("mine")


def test_what_is_no_exporter_is_refused_before_anything_is_made(install, make_dataset, tmp_path):
    install("a-lab", {"robolearn.exporters": {"mine": "a_lab:VERSION"}}, "VERSION = '1'")
    with pytest.raises(ConfigError, match=r"export format 'mine' \(a_lab:VERSION\) is a str; expected a function"):
        export_dataset(make_dataset(1), tmp_path / "out", "mine")
    assert not list(tmp_path.glob("out*"))
