import datetime
import json

import numpy as np

from robolearn.core.provenance import provenance, user_name


def test_provenance_is_json_and_names_what_can_change_a_result():
    record = json.loads(json.dumps(provenance()))
    assert record["versions"]["numpy"] == np.__version__
    assert "python" in record["versions"]
    assert "core" in record["machine"]
    assert record["git_revision"] is None or len(record["git_revision"].removesuffix("+dirty")) == 40
    assert datetime.datetime.fromisoformat(record["date"]).utcoffset() == datetime.timedelta(0)


def test_a_user_whom_the_system_does_not_know_has_a_number(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", unknown)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert user_name() == "uid 54321"
