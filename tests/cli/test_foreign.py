"""A search that somebody else kept is data: Optuna makes no objects of what its file names."""

import json
import sqlite3

import optuna
import pytest

from batchmix import MixError
from batchmix.cli.lab.search.candidates import Search
from batchmix.cli.lab.search.ray_tune import _candidates, _check_same
from batchmix.cli.lab.search.space import space
from batchmix.cli.lab.search.study import open_study, tried

SEARCH = Search(space("mixup", 3), (0,), 0.0, True, 3, 1)


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


def kept(path):
    """A search with one candidate."""
    study = open_study(path, SEARCH, {"--seed": 0})
    asked = study.ask()
    asked.suggest_categorical("policy", ["mixup"])
    asked.set_user_attr("arm", "mixup:1")
    asked.report(0.5, 0)
    study.tell(asked, 0.5)


def changed(path, *statements):
    with sqlite3.connect(path) as file:
        for statement in statements:
            file.execute(statement)
    file.close()


SPOILED = {
    "an attribute": "update study_user_attributes set value_json = '{'",
    "a list": "update study_user_attributes set value_json = '[1]'",
    "no arm": "delete from trial_user_attributes",
    "an arm that is a number": "update trial_user_attributes set value_json = '3'",
    "an arm that cannot be trained": "update trial_user_attributes set value_json = "
    "'\"mixup:1,off=99999999999999999999,prob=7\"'",
    "an arm of no search": "update trial_user_attributes set value_json = '\"smooth:0.1\"'",
    "two arms": "update trial_user_attributes set value_json = '\"mixup:1 mixup:2\"'",
    "a value without end": "update trial_values set value_type = 'INF_POS', value = null",
    "an arm that is no JSON": "update trial_user_attributes set value_json = 'x'",
    "a state": "update trials set state = 'FUN'",
    "a value": "update trial_values set value = 'x'",
    "no value": "delete from trial_values",
    "null": "update trial_values set value = null",
    "a kind of value": "update trial_intermediate_values set intermediate_value_type = 'x'",
    "a distribution": "update trial_params set distribution_json = '{}'",
    "a table": "drop table trial_values",
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_search_that_makes_no_sense_is_one_line(tmp_path, what):
    path = tmp_path / "search.db"
    kept(path)
    changed(path, SPOILED[what])
    before = path.read_bytes()
    with pytest.raises(MixError, match=r"search\.db: it cannot be read \(.+\)"):
        open_study(path, SEARCH, {"--seed": 0})
    assert path.read_bytes() == before


def test_a_reason_that_is_a_list(tmp_path):
    path = tmp_path / "search.db"
    study = open_study(path, SEARCH, {})
    asked = study.ask()
    asked.set_user_attr("arm", "mixup:1")
    asked.set_user_attr("why", ["no memory"])
    study.tell(asked, state=optuna.trial.TrialState.FAIL)
    with pytest.raises(MixError, match=r"search\.db: it cannot be read \(.*failed because of"):
        open_study(path, SEARCH, {})


@pytest.mark.parametrize("name", ["x?y", "x?mode=memory", "x%41", "x#y", "x+y z", "{x}"])
def test_a_search_is_kept_in_its_folder_whatever_that_is_called(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    kept(folder / "search.db")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in folder.iterdir()] == ["search.db"]
    assert [one.arm for one in tried(open_study(folder / "search.db", SEARCH, {}))] == ["mixup:1"]


@pytest.mark.parametrize("cut", [100, 4096, 40_000])
def test_a_search_that_was_cut_is_one_line(tmp_path, cut):
    path = tmp_path / "search.db"
    kept(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(MixError, match=r"search\.db: it cannot be read"):
        open_study(path, SEARCH, {})


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "search.db"
    changed(path, "create table mine (a)", "insert into mine values (1)")
    before = path.read_bytes()
    with pytest.raises(MixError, match="it is a database of something else"):
        open_study(path, SEARCH, {})
    assert path.read_bytes() == before


def test_an_empty_file_is_no_search_yet(tmp_path):
    (tmp_path / "search.db").write_bytes(b"")
    assert tried(open_study(tmp_path / "search.db", SEARCH, {})) == []


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[1]", b"3", b'{"a": 1, "a": 2}', b"[" * 99999, b"\xff", b'{"a": NaN}', b"null"],
)
def test_what_a_search_on_ray_keeps_is_json(tmp_path, content):
    path = tmp_path / "ray-tune.json"
    path.write_bytes(content)
    for read in (_candidates, lambda path: _check_same(path, {"--seed": 0})):
        with pytest.raises(MixError, match=r"ray-tune\.json: it cannot be read \(.+\)"):
            read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("left", ["candidates.json", "ray-tune"])
def test_what_another_search_left_is_not_taken_for_this_one_s(tmp_path, left):
    """Whose ray-tune.json, which says what it searched, was removed."""
    _check_same(tmp_path / "ray-tune.json", {"--seed": 0})
    (tmp_path / left).mkdir()
    (tmp_path / "ray-tune.json").unlink()
    with pytest.raises(MixError, match=rf"{left}: it cannot be read \(ray-tune.json is missing"):
        _check_same(tmp_path / "ray-tune.json", {"--seed": 1})
    assert not (tmp_path / "ray-tune.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        '[{"arm": 1}]',
        '[{"arm": "a", "what": 2}]',
        "{}",
        '[["a"]]',
        "[]",
        '[{"arm": "mixup:1", "state": "fun", "value": 1.0}]',
        '[{"arm": "mixup:1", "state": "finished", "value": "x"}]',
        '[{"arm": "mixup:1,prob=7", "state": "finished", "value": 1.0}]',
    ],
)
def test_candidates_that_are_none(tmp_path, content):
    (tmp_path / "candidates.json").write_text(content)
    with pytest.raises(MixError, match="it is no list of candidates"):
        _candidates(tmp_path / "candidates.json")
