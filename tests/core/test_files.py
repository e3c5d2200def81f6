"""Files by their names."""

import os

import pytest

from robolearn.core.files import is_still_named


@pytest.fixture
def opened(tmp_path):
    path = tmp_path / "file"
    path.write_text("it")
    descriptor = os.open(path, os.O_RDONLY)
    yield path, descriptor
    os.close(descriptor)


def test_a_file_is_named_until_it_is_removed_or_another_takes_its_place(opened):
    path, descriptor = opened
    assert is_still_named(path, descriptor)
    path.rename(path.with_name("elsewhere"))
    assert not is_still_named(path, descriptor)
    path.write_text("another")
    assert not is_still_named(path, descriptor)
    assert is_still_named(path.with_name("elsewhere"), descriptor)


def test_a_link_names_what_it_leads_to_unless_links_are_not_followed(opened):
    path, descriptor = opened
    link = path.with_name("link")
    link.symlink_to(path)
    assert is_still_named(link, descriptor) and not is_still_named(link, descriptor, follow_links=False)
