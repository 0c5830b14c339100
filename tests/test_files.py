"""A file is written whole, or not at all."""

import json

import numpy as np
import pytest

from hi_ml.app.files import atomic, write_json


def test_a_file_takes_its_name_when_all_is_written(tmp_path):
    with atomic(tmp_path / "a.csv") as part:
        part.write_text("new")
        assert part.parent == tmp_path
        assert not (tmp_path / "a.csv").exists()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "new")]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt, SystemExit])
def test_a_file_that_could_not_be_finished_vanishes_and_the_old_one_stands(tmp_path, failure):
    def write_half():
        with atomic(tmp_path / "a.csv") as part:
            part.write_text("half")
            raise failure

    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(failure):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "old")]


def test_json_holds_plain_values_and_no_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"number": np.float64(0.1), "count": np.int64(3), "yes": np.bool_(True), "word": "größer"})
    assert json.loads(path.read_text()) == {"number": 0.1, "count": 3, "yes": True, "word": "größer"}
    assert "größer" in path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"number": float("nan")})
