"""docs/actions.md: its program runs, its json is read, and its tables say what the code says."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import DIALECTS, Dialect

PAGE = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()


def test_the_program_converts_exactly(capsys, present):
    present("panda")
    pytest.importorskip("gymnasium")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(program, "docs/actions.md", "exec"), {})
    converted, counted = capsys.readouterr().out.splitlines()
    assert converted == "actions are converted: (panda): pose (rot6d), gripper -> (panda): joints, gripper"
    assert counted == "exact"


def test_the_json_is_a_layout_and_the_table_has_every_field_with_its_default():
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    layout = ActionLayout.from_dict(json.loads(text))
    assert layout.describe().startswith(
        "left (panda): pose relative to the last target (euler axes, rpy, scaled, within"
    )
    rows = re.findall(
        r"^\| ((?:`\w+`,? ?)+) \|", PAGE.partition("| field of a part")[2].partition("##")[0], re.MULTILINE
    )
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(field.name for field in fields(Part))


def test_every_dialect_with_a_name_is_what_the_table_says():
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)`", PAGE, re.MULTILINE))
    rows = {name: words for name, words in rows.items() if name in DIALECTS}
    assert rows.keys() == DIALECTS.keys()
    for name, words in rows.items():
        said, meant = Dialect.parse(words), DIALECTS[name]
        same = ("kind", "reference", "axes", "rotation")
        assert [getattr(said, field) for field in same] == [getattr(meant, field) for field in same]


def test_every_word_of_the_page_is_one():
    for words in re.findall(r"--(?:action|stored) ([\w.]+)", PAGE):
        Dialect.parse(words)
