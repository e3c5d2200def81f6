import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.select import Selection, parse_episodes, parse_fields
from robolearn.datasets.write.edits import edit_episodes, set_mask
from robolearn.datasets.write.writer import DatasetWriter

RECORDS = (
    {"task": "push", "success": True, "score": 1},
    {"task": "push", "success": False, "score": 2.5},
    {"task": "12", "success": None, "operator": "anna"},
    {"task": "pull = push", "success": True, "score": True},
)


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, features([Feature("action", (1,))]), 10, durable=False) as writer:
        for length, record in enumerate(RECORDS, start=2):
            writer.start_episode()
            for k in range(length):
                writer.append(k / 10, {"action": np.zeros(1, np.float32)})
            writer.commit(record)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("0-2", [0, 1, 2]),
        ("5,1", [5, 1]),
        ("-1", [9]),
        ("-3--1", [7, 8, 9]),
        ("0-1, 8--1", [0, 1, 8, 9]),
    ],
)
def test_episodes_are_indices_and_ranges_with_both_ends(text, expected):
    assert parse_episodes(text, 10) == expected


@given(st.lists(st.integers(0, 99), min_size=1, max_size=20), st.lists(st.booleans(), min_size=20, max_size=20))
def test_any_list_of_indices_is_read_back_from_either_end(indices, from_end):
    text = ",".join(str(i - 100 if end else i) for i, end in zip(indices, from_end, strict=False))
    assert parse_episodes(text, 100) == indices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "takes indices and ranges"),
        ("1:3", "found '1:3'"),
        ("1,,2", "takes indices"),
        ("10", "there is no episode 10; the dataset has 0 to 9"),
        ("-11", "there is no episode -11"),
        ("3-1", "runs backwards"),
    ],
)
def test_episodes_that_make_no_sense_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_episodes(text, 10)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("success=true", [0, 3]),
        ("success!=true", [1, 2]),
        ("success=null", [2]),
        ("success=True", [0, 3]),
        ("success!=True", [1, 2]),
        ("success=False", [1]),
        ("success=None", [2]),
        ("task=push", [0, 1]),
        ('task="push"', [0, 1]),
        ("task=12", [2]),
        ("task=pull = push", [3]),
        ("score=1", [0]),
        ("score>1", [1]),
        ("score<=2.5", [0, 1]),
        ("num_steps>=4", [2, 3]),
        ("operator=anna", [2]),
        ("operator!=anna", [0, 1, 3]),
    ],
)
def test_where_compares_a_field_of_the_record(dataset, condition, expected):
    assert np.flatnonzero(Selection(where=(condition,)).find(Dataset(dataset))).tolist() == expected


def test_conditions_narrow_each_other_down_and_see_edited_labels(dataset):
    edit_episodes(dataset, [1], {"success": True})
    set_mask(dataset, "few", [1, 3])
    found = Selection("0-2", ("success=true", "task=push"), "few").find(Dataset(dataset))
    assert np.flatnonzero(found).tolist() == [1]


def test_quarantined_episodes_are_never_meant(dataset):
    set_mask(dataset, "quarantine", [0])
    assert Selection("0-1").find(Dataset(dataset)).tolist() == [False, True, False, False]
    assert Selection().find(Dataset(dataset)).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(where=("succes=true",)), "Did you mean 'success'"),
        (Selection(where=("success",)), "takes a condition"),
        (Selection(mask="train"), "Unknown mask 'train'"),
    ],
)
def test_an_unknown_field_or_mask_is_named(dataset, selection, message):
    with pytest.raises((ConfigError, DatasetError), match=message):
        selection.find(Dataset(dataset))


def test_values_are_json_or_else_text():
    found = parse_fields(("task=push the T", "success=True", "note=a=b", 'id="3"', "n=3", 'who="None"'), "--set")
    assert found == {"task": "push the T", "success": True, "note": "a=b", "id": "3", "n": 3, "who": "None"}
    for wrong in (("task",), ("=3",), ("a=1", "a=2")):
        with pytest.raises(ConfigError, match="--set"):
            parse_fields(wrong, "--set")
