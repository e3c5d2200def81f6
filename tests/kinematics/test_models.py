"""A robot's model is what its checksum says, wherever it is taken from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from robolearn.core.errors import MissingDependencyError
from robolearn.kinematics.models import RobotModel, checksum

FILES = ("arm.xml", "meshes/link.stl")


@dataclass(frozen=True)
class Place:
    root: Path | None
    remedy: str = "bring the right ones"

    def folder(self, files):
        if self.root is None:
            raise MissingDependencyError("nothing is installed here")
        return self.root


def fill(folder: Path, xml: str = "<mujoco/>") -> Place:
    (folder / "meshes").mkdir(parents=True)
    (folder / "arm.xml").write_text(xml)
    (folder / "meshes" / "link.stl").write_bytes(b"solid")
    return Place(folder)


def test_the_checksum_covers_names_and_content_in_one_order(tmp_path):
    fill(tmp_path / "a")
    lines = [f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in
             (("arm.xml", b"<mujoco/>"), ("meshes/link.stl", b"solid"))]  # fmt: skip
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert checksum(tmp_path / "a", FILES) == checksum(tmp_path / "a", FILES[::-1]) == expected


def test_a_place_with_other_files_is_passed_over(tmp_path):
    wrong, right = fill(tmp_path / "wrong", "<mujoco model='x'/>"), fill(tmp_path / "right")
    pinned = RobotModel("arm", "lab-1", (wrong, right), FILES, checksum(tmp_path / "right", FILES))
    assert pinned.folder() == tmp_path / "right"
    assert RobotModel("arm", "lab-1", (wrong, right), FILES).folder() == tmp_path / "wrong"


def test_a_place_that_is_not_there_is_passed_over(tmp_path):
    right = fill(tmp_path / "right")
    assert RobotModel("arm", "lab-1", (Place(None), right), FILES).folder() == tmp_path / "right"


def test_without_a_place_the_last_one_says_what_to_do(tmp_path):
    wrong = fill(tmp_path / "wrong")
    with pytest.raises(
        MissingDependencyError, match=r"nothing is installed here Passed over: the files in .*wrong have"
    ):
        RobotModel("arm", "lab-1", (wrong, Place(None)), FILES, "0" * 64).folder()
    with pytest.raises(
        MissingDependencyError,
        match=r"The model lab-1 of arm is incomplete or changed: the files in .*wrong have the checksum [0-9a-f]{12}"
        r"\.\.\., expected 000000000000\.\.\.; bring the right ones\.",
    ):
        RobotModel("arm", "lab-1", (Place(None), wrong), FILES, "0" * 64).folder()


@pytest.mark.parametrize("sha256", [None, "0" * 64])
def test_a_lost_file_is_named(tmp_path, sha256):
    place = fill(tmp_path / "arm")
    (tmp_path / "arm" / "meshes" / "link.stl").unlink()
    with pytest.raises(MissingDependencyError, match=r"lacks meshes/link\.stl; bring the right ones"):
        RobotModel("arm", "lab-1", (place,), FILES, sha256).folder()


def test_a_model_names_a_place():
    with pytest.raises(MissingDependencyError, match="'arm' names no place"):
        RobotModel("arm", "lab-1", (), FILES).folder()
