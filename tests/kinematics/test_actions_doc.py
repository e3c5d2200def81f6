"""docs/actions.md: its program runs, and its tables say what the code says."""

import re
from pathlib import Path

import pytest

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
