"""A search that somebody else kept is data: Optuna makes no objects of what its file names."""

import json
import sqlite3

import optuna
import pytest


def test_a_search_is_kept_without_pickles(tmp_path):
    path = tmp_path / "search.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="batchmix")
    asked = study.ask()
    asked.suggest_categorical("policy", ["mixup", "cutmix"])
    study.tell(asked, 1.0)
    mark = tmp_path / "mark"
    call = {"name": "os.system", "attributes": {"command": f"touch {mark}"}}
    with sqlite3.connect(path) as file:
        tables = [sql for (sql,) in file.execute("select sql from sqlite_master") if sql]
        assert not any(kind in sql.upper() for sql in tables for kind in ("BLOB", "BINARY"))
        file.execute("update trial_params set distribution_json = ?", (json.dumps(call),))
    file.close()
    study = optuna.load_study(storage=f"sqlite:///{path}", study_name="batchmix")
    with pytest.raises(ValueError, match="Unknown distribution class"):
        study.get_trials()
    assert not mark.exists()
