import numpy as np
import pytest
import torch
from tiny.run import make_items, run_params, write_run

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.hashes import remove
from dskd.scores.lexical_choice import Item
from dskd.scores.store import (
    answer_share,
    baseline_table,
    baselines,
    choice_rows,
    heldout_rows,
    item_rows,
    mean_scores,
    read_columns,
    read_items,
    read_rows,
    read_units,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def item(task, name, answer):
    return Item(task, name, "word", "context", (" a", " b", " c"), answer, "n", "word.n.01")


def write(**files):
    """Scores as a run leaves them; what is not given is empty."""
    for name in ("heldout", "lexical", "in_context", "pairs", "cloze", "chat"):
        artifacts.write_jsonl(f"{artifacts.SCORES}/{name}.jsonl", files.get(name, []))


# Rows


def test_a_row_of_a_choice_task_says_what_was_chosen_and_whether_it_was_right():
    items = [item("synonym", "s1", 2), item("antonym", "a1", 0)]
    scores = {"one": [[-3.0, -2.0, -1.00004], [-5.0, -4.0, -6.0]], "two": [[-1.0, -2.0, -3.0], [-6.0, -4.0, -5.0]]}
    rows = choice_rows(scores, items)
    assert [(row["model"], row["task"], row["id"], row["answer"], row["chosen"], row["correct"]) for row in rows] == [
        ("one", "synonym", "s1", 2, 2, 1),
        ("one", "antonym", "a1", 0, 1, 0),
        ("two", "synonym", "s1", 2, 0, 0),
        ("two", "antonym", "a1", 0, 1, 0),
    ]
    assert rows[0]["log_likelihoods"] == [-3, -2, -1]


def test_a_row_of_held_out_text_names_its_model_block_and_source():
    scores = {"teacher": {"kl": [0.0, 0.0], "ce": [1.0, 2.0], "agreement": [1.0, 1.0]}}
    rows = heldout_rows(scores, torch.tensor([1, 0]), ["gloss:bank", "wiki:Bank"])
    assert [(row["model"], row["block"], row["ce"], row["kl"], row["agreement"]) for row in rows] == [
        ("teacher", 0, 1.0, 0.0, 1.0),
        ("teacher", 1, 2.0, 0.0, 1.0),
    ]
    assert [row["source"] for row in rows] == ["gloss", "wiki"]
    assert [row["document"] for row in rows] == ["gloss:bank", "wiki:Bank"]


def test_items_are_read_as_they_were_kept_with_the_frequency_of_their_choices():
    items, frequency = make_items(), {"one": 9, "two": 7, "eleven": 3, "unasked": 5}
    artifacts.write_jsonl(f"{artifacts.SCORES}/items.jsonl", item_rows(items, frequency))
    assert read_items() == (items, {"one": 9, "two": 7, "three": 0, "eleven": 3})


def test_the_baselines_are_those_of_each_task():
    items = [item("synonym", "s1", 1), item("antonym", "a1", 1), item("antonym", "a2", 2), item("definition", "d1", 0)]
    artifacts.write_jsonl(f"{artifacts.SCORES}/items.jsonl", item_rows(items, {"a": 1, "b": 3, "c": 2}))
    found = {task: rules["most_frequent"] for task, rules in baselines().items()}
    assert found == {"synonym": 1, "antonym": 0.5, "definition": 0}


# Columns


def heldout(model, block, value, source="wiki"):
    scores = {"ce": value, "kl": value + 100, "agreement": value / 100}
    return {"model": model, "block": block, "source": source, "document": f"{source}:{block // 2}", **scores}


def test_glosses_stand_apart_from_plain_text_and_in_its_place_where_there_is_none():
    rows = [heldout("one", block, block, ("gloss", "wiki")[block % 2]) for block in (5, 0, 1, 2, 3, 4)]
    write(heldout=rows)
    tables = read_columns()["one"]
    np.testing.assert_array_equal(tables["heldout"]["ce"], [1, 3, 5])
    np.testing.assert_array_equal(tables["glosses"]["kl"], [100, 102, 104])
    assert read_units()["heldout"]["kl"] == ["wiki:0", "wiki:1", "wiki:2"]
    assert read_units()["glosses"] == {key: ["gloss:0", "gloss:1", "gloss:2"] for key in ("ce", "kl", "agreement")}
    write(heldout=[row for row in rows if row["source"] == "gloss"])
    assert list(read_columns()["one"]) == list(read_units()) == ["heldout"]


def test_blocks_and_items_come_in_one_order_whatever_that_of_the_rows():
    blocks = range(12)  # the tenth is not the second
    rows = [heldout("one", block, block) for block in blocks]
    rows += [heldout("two", block, block) for block in reversed(blocks)]
    asked = [("one", "s2", 1), ("one", "s1", 0), ("one", "s3", 1), ("two", "s3", 1), ("two", "s1", 0), ("two", "s2", 1)]
    choices = [
        {"model": model, "task": "synonym", "rung": "word", "id": name, "correct": right}
        for model, name, right in asked
    ]
    write(heldout=rows, lexical=choices)
    columns = read_columns()
    for model in ("one", "two"):
        np.testing.assert_array_equal(columns[model]["heldout"]["ce"], blocks)
        np.testing.assert_array_equal(columns[model]["heldout"]["kl"], np.arange(100, 112))
        np.testing.assert_array_equal(columns[model]["lexical"]["synonym"], [0, 1, 1])


def test_each_protocol_has_its_tables():
    one = {"model": "one", "id": "x"}
    cloze = {"protocol": "cloze", "acc": 1.0, "acc_norm": 0.0, "probability": 0.3}
    chat = {**one, "protocol": "chat", "written": "A"}
    write(
        cloze=[{**one, "benchmark": name, **cloze} for name in ("piqa", "wic")],
        chat=[{**chat, "benchmark": "piqa", "acc": 0.0}, {**chat, "benchmark": "squad_v2", "f1": 0.4, "em": 0.0}],
    )
    assert read_columns()["one"] == {
        "cloze": {"piqa": 1, "wic": 1},
        "cloze_norm": {"piqa": 0, "wic": 0},
        "cloze_probability": {"piqa": 0.3, "wic": 0.3},
        "chat": {"piqa": 0, "squad_v2": 0.4, "squad_v2_em": 0},
    }


def test_what_states_tell_of_words_stands_with_the_lexical_tasks_and_likeness_by_itself():
    values = [
        ("human", "simlex", 8.5),
        ("one", "simlex", 0.2),
        ("one", "wic_states", 1.0),
        ("one", "antonym_probe", 0.0),
    ]
    write(pairs=[{"model": model, "task": task, "id": "x", "value": value} for model, task, value in values])
    assert read_columns() == {
        "human": {"similarity": {"simlex": 8.5}},
        "one": {"similarity": {"simlex": 0.2}, "lexical": {"wic_states": 1, "antonym_probe": 0}},
    }


def test_every_score_of_a_whole_run_is_read():
    params = run_params(seeds=[0])
    write_run(params)
    columns = read_columns()
    assert list(columns) == ["teacher", "cut", "kd-0", "dskd-0", "human"]
    shapes = {
        model: {table: {key: values.shape for key, values in of.items()} for table, of in tables.items()}
        for model, tables in columns.items()
    }
    assert shapes["teacher"] == shapes["cut"] == shapes["kd-0"] == shapes["dskd-0"]
    assert sum(len(of) for of in shapes["teacher"].values()) == 3 + 3 + 6 + 4 + 4 + 1 + 1 + 3 * 2 + 3
    assert all(values.dtype == np.float64 for of in columns["kd-0"].values() for values in of.values())


def test_the_ladder_has_a_group_a_task_rung_and_side_of_the_teacher():
    def row(model, name, rung, right, share=0.5):
        likelihoods = np.log([share, 1 - share]).tolist()
        task = name[:7]
        about = {"model": model, "task": task, "rung": rung, "id": name, "correct": right, "answer": 0}
        return about | {"log_likelihoods": likelihoods}

    rows = [row("teacher", f"synonym:{i}", ("trained", "word")[i % 2], int(i < 4)) for i in range(8)]
    rows += [row("teacher", "antonym:0", "relation", 1)]  # alone in its group
    rows += [row("one", f"synonym:{i}", ("trained", "word")[i % 2], int(i % 4 == 0), i / 10 + 0.1) for i in range(8)]
    rows += [row("one", "antonym:0", "relation", 0)]
    write(lexical=rows)
    one = read_columns()["one"]
    assert {key: values.tolist() for key, values in one["ladder"].items()} == {
        "synonym_trained_right": [1, 0],  # items 0, 2
        "synonym_word_right": [0, 0],  # 1, 3
        "synonym_trained_wrong": [1, 0],  # 4, 6
        "synonym_word_wrong": [0, 0],
    }
    np.testing.assert_allclose(one["ladder_probability"]["synonym_trained_wrong"], [0.5, 0.7])
    assert list(one["lexical"]) == ["synonym"] and len(one["lexical"]["synonym"]) == 4  # held-out words alone


def test_the_share_of_an_answer_is_a_number_however_unlikely_all_choices_are():
    row = {"log_likelihoods": [-3000.0, -1000.0, -1000.0 + np.log(3)]}
    assert [answer_share(row | {"answer": i}) for i in range(3)] == pytest.approx([0, 0.25, 0.75])


def test_places_in_context_are_measures_by_kind_and_rung_with_their_documents():
    about = [
        ("synonym", "trained", "b", "d2", 0.5),
        ("antonym", "word", "c", "d1", -2),
        ("synonym", "trained", "a", "d1", 1),
    ]
    keys = ("kind", "rung", "id", "document", "value")
    write(in_context=[{"model": "one", **dict(zip(keys, row))} for row in about])
    found = read_columns()["one"]["in_context"]
    assert {key: values.tolist() for key, values in found.items()} == {
        "synonym_trained": [1, 0.5],
        "antonym_word": [-2],
    }
    assert read_units() == {"in_context": {"synonym_trained": ["d1", "d2"], "antonym_word": ["d1"]}}


@pytest.mark.parametrize("name", ["heldout", "lexical", "in_context", "pairs", "cloze", "chat"])
def test_missing_scores_are_an_error_that_names_the_command_that_makes_them(name):
    write()
    remove(f"{artifacts.SCORES}/{name}.jsonl")
    with pytest.raises(UserError, match=rf"{name}\.jsonl is missing.*`dvc repro evaluate`"):
        read_columns()
    with pytest.raises(UserError, match="`dvc repro evaluate`"):
        read_rows(name)


def test_means_are_those_of_models_measure_by_measure_and_not_of_people():
    write(
        heldout=[heldout("one", 0, 1.0), heldout("one", 1, 4.0), heldout("two", 0, 3.0)],
        pairs=[{"model": model, "task": "simlex", "id": "x", "value": 0.5} for model in ("human", "one", "two")],
    )
    table = mean_scores(read_columns())
    assert list(table.columns) == ["one", "two"]
    assert table.loc[("heldout", "ce")].tolist() == [2.5, 3.0]
    assert table.loc[("similarity", "simlex")].tolist() == [0.5, 0.5]


def test_the_table_of_baselines_has_a_row_a_task_and_a_column_a_rule():
    artifacts.write_jsonl(f"{artifacts.SCORES}/items.jsonl", item_rows(make_items(), {"one": 9, "two": 7}))
    table = baseline_table()
    assert table.to_dict(orient="index") == baselines()
