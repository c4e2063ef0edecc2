"""Raw rows of the published files become canonical ones, or an error that names the line."""

from pathlib import Path

import pytest
from tiny.benchmarks import HEAD, canonical, exam_rows, jsonl, mirror_files, mmlu_csv, write

from dskd.benchmarks.published_rows import detokenised
from dskd.errors import UserError

UNEVEN = {"id": "Q_1", "question": "Why?", "choices": {"text": ["a"], "label": ["A", "B"]}, "answerKey": "B"}


@pytest.fixture
def mirror(tmp_path):
    return write(tmp_path / "mirror", mirror_files())


def test_canonical_rows(mirror):
    def read(name, split="test"):
        return sorted(canonical(mirror, name, split)[0], key=lambda row: row["id"])

    assert read("arc_easy", "train") == read("openbookqa") == read("commonsense_qa")
    first, second, third = read("arc_easy")
    choices = ["rain", "light", "“sound”", "time"]
    assert first == {"id": "Q_1", "question": "What falls?", "choices": choices, "answer": 0}
    assert (second["answer"], third["answer"], len(third["choices"])) == (3, 1, 3)
    assert {(row["question"], *row["choices"], row["answer"]) for row in read("piqa")} == {
        ("Open a jar", "twist the lid", "twist the jar's base", 0),
        ("dresser", "a  b", "c", 1),
    }
    one, again, other = sorted(read("mmlu"), key=lambda row: (row["question"] != "Same question", row["id"]))
    assert again == {**one, "id": f"{one['id']}-2"} and len(one["id"]) == 12
    assert list(other) == ["id", "subject", "question", "choices", "answer"]
    assert other["choices"] == ["1,000", "0.50", "None", '"x"'] and other["question"].startswith('He said "no", ')
    golds = {row["id"]: row["answers"] for row in read("squad_v2")}
    assert golds == {"56a": ["1066", "in 1066"], "56b": [], "56c": ["Kent"]}
    first = read("squad_v2")[0]
    assert first["question"] == "When was it?" and first["context"] == "It was in 1066, in Kent."
    assert {row["word1"]: row["similarity"] for row in read("simlex")} == {"old": 1.58, "nice": 5.0, "smart": 9.2}
    assert {(r["pos"], r["word1"], r["relation"]) for r in read("antsynnet")} == {
        ("adjective", "good", "antonym"),
        ("adjective", "big", "synonym"),
        ("noun", "day", "antonym"),
    }
    assert [(r["word1"], r["word2"], r["relation"]) for r in sorted(read("ppdb"), key=lambda row: row["word1"])] == [
        ("big", "small", "antonym"),
        ("colour", "color", "synonym"),
        ("colour", "color", "synonym"),
        ("females", "males", "antonym"),
    ]
    assert {(r["word1"], r["word2"], r["relation"]) for r in read("roget")} == {
        ("scold", "flatter", "antonym"),
        ("scold", "praise", "antonym"),
        ("new", "old", "antonym"),
    }
    assert all(list(row) == ["id", "word1", "word2", "relation"] for row in read("ppdb") + read("roget"))
    char, carry = sorted(read("wic"), key=lambda row: row["answer"])
    assert list(char) == ["id", "word", "sentence1", "sentence2", "span1", "span2", "answer"]
    assert char["sentence1"] == "They gave you fresh fried char."
    assert carry["sentence1"] == "You must carry it, can't you?"
    assert [row["sentence2"][slice(*row["span2"])] for row in (char, carry)] == ["char", "Carry"]


def test_a_mark_of_byte_order_is_no_part_of_a_question(mirror):
    file = "mmlu/test/virology_test.csv"
    text = (mirror / file).read_text()
    rows = canonical(mirror, "mmlu", "test")[0]
    write(mirror, {file: "\ufeff" + text})
    assert canonical(mirror, "mmlu", "test")[0] == rows


def test_detokenised():
    for tokens, text in [
        ("` Motel ' is ' a ' well - known word , is n't it ?", "'Motel' is 'a' well-known word, isn't it?"),
        ('The agents \' bill ( $ 50 ) : " high " , 5 % more .', 'The agents\' bill ($50): "high", 5% more.'),
        ("Of ' 97 -- a good one - John Milton .", "Of '97 -- a good one - John Milton."),
    ]:
        found, starts = detokenised(tokens.split(" "))
        assert found == text
        assert [found[i] for i in starts] == [token[0].replace("`", "'") for token in tokens.split(" ")]


@pytest.mark.parametrize(
    "name, file, text, line",
    [
        ("arc_easy", "arc/ARC-Easy-Test.jsonl", '{"id": "Q_1"}\n{"id"', ":2: no JSON"),
        ("arc_easy", "arc/ARC-Easy-Test.jsonl", "[]\n", ":1: no JSON object"),
        ("arc_easy", "arc/ARC-Easy-Test.jsonl", jsonl([{"id": "Q_1", "answerKey": "A"}]), ":1: malformed row"),
        ("arc_easy", "arc/ARC-Easy-Test.jsonl", jsonl([UNEVEN]), ":1: malformed row"),
        ("commonsense_qa", "commonsenseqa/dev_rand_split.jsonl", b"\xff\xfe", "no UTF-8"),
        ("mmlu", "mmlu/test/virology_test.csv", "q,a,b,c,d,A\nq,a,b,c,A\n", ":2: 5 columns, expected 6"),
        ("mmlu", "mmlu/test/virology_test.csv", 'q,a,b,c,d,A\n"q" x,a,b,c,d,A\n', ":2: no CSV"),
        ("piqa", "piqa/valid-labels.lst", "0\n", "1 labels for the 2 rows"),
        ("piqa", "piqa/valid-labels.lst", "0\nx\n", "valid.jsonl:2: malformed row"),
        ("wic", "wic/dev.data.txt", "char\tN\t9-3\tA b .\tA b c char\n" * 2, ":1: malformed row"),
        ("wic", "wic/dev.data.txt", "char\tN\n" * 2, ":1: malformed row"),
        ("squad_v2", "squad_v2/dev-v2.0.json", '{\n"data": [\n', ":3: no JSON"),
        ("squad_v2", "squad_v2/dev-v2.0.json", '{"data": [{"title": "T"}]}', "article 1: malformed"),
        ("simlex", "similarity/SimLex-999.txt", f"{HEAD}\nold\tnew\tA\n", ":2: malformed row"),
        ("antsynnet", "antsyn/AntSynNET/verb-pairs.val", "go\tcome\n", ":1: malformed row"),
        ("ppdb", "constraints/counter-fitting/ppdb_antonyms.txt", "up down\nup\n", ":2: malformed row"),
        ("roget", "constraints/roget/antonym.txt", "up\tdown\nup\n", ":2: malformed row"),
    ],
)
def test_malformed_rows_are_named(mirror, name, file, text, line):
    write(mirror, {file: text})
    with pytest.raises(UserError) as error:
        canonical(mirror, name, "test")
    assert line in str(error.value) and "\n" not in str(error.value)
    assert str(mirror / Path(file).parent) in str(error.value)


def test_rows_with_faults_are_counted_and_left_out(mirror):
    faulty = [*exam_rows(True), *exam_rows(True), *exam_rows(True)]
    faulty[3]["answerKey"] = "E"
    faulty[4]["answerKey"] = ""
    faulty[5]["question"]["choices"][2]["text"] = " "
    write(
        mirror,
        {
            "arc/ARC-Easy-Test.jsonl": jsonl(faulty[:6]),
            "mmlu/test/virology_test.csv": mmlu_csv("virology") + "q,a,b,c,d,E\nq,a,,c,d,A\n",
            "wic/dev.gold.txt": "F\n?\n",
            "antsyn/AntSynNET/verb-pairs.val": "go\tcome\t2\n",
        },
    )
    expected = {"arc_easy": (3, 2, 1), "mmlu": (3, 1, 1), "wic": (1, 1, 0), "antsynnet": (3, 1, 0)}
    for name, (kept, outside, empty) in expected.items():
        found, faults = canonical(mirror, name, "test")
        assert len(found) == kept
        assert (faults["label_outside"], faults["empty_choice"]) == (outside, empty)
