"""Benchmark files as they are published, read into raw rows and from these into canonical ones.

`records` reads files; a function a benchmark (`exam` to `wic`) makes its canonical row of a raw one, or a list of
rows, without an id where the benchmark publishes none. A label outside the choices is the answer -1, or the relation
None.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from dskd.errors import UserError, one_line

_LABELS = ("labels.lst", ".gold.txt")  # names of files that hold the labels of the file before them
_LETTERS = {letter: i for i, letter in enumerate("ABCD")}
_RELATIONS = {"0": "synonym", "1": "antonym"}
_SENSES = {"F": 0, "T": 1}
_OPENING = set("([{“‘$")
_CLOSING = set(".,;:?!%)]}”’") | {"...", "n't"} | {f"{mark}{end}" for mark in "'′" for end in "s ll m re ve d".split()}


def records(files: list[Path]) -> Iterator[tuple[str, dict]]:
    """(file and line, raw row) of files that are read by the ending of their names.

    .parquet and .jsonl: the row as it stands. .csv (MMLU): question, choices, answer, subject. .json
    (SQuAD): article, paragraph, qa. Any other is a table with tabs: columns and file (its stem). The
    lines of a file of labels become the key `label`.

    Raises:
        UserError: the file cannot be read, a line is malformed, or there is not one label a row.
    """
    rows = [row for path in files if not path.name.endswith(_LABELS) for row in _rows(path)]
    labels = [line for path in files if path.name.endswith(_LABELS) for line in _lines(path)]
    if any(path.name.endswith(_LABELS) for path in files):
        if len(labels) != len(rows):
            raise UserError(f"{files[1]}: {len(labels)} labels for the {len(rows)} rows of {files[0]}")
        rows = [(where, {**row, "label": label.strip()}) for (where, row), (_, label) in zip(rows, labels)]
    yield from rows


def _rows(path: Path) -> Iterator[tuple[str, dict]]:
    readers = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _mmlu, ".json": _squad}
    return readers.get(path.suffix, _table)(path)


def _parquet(path: Path) -> Iterator[tuple[str, dict]]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is damaged or no Parquet file ({one_line(error)})") from None
    yield from ((f"{path}, row {i}", row) for i, row in enumerate(rows, 1))


def _jsonl(path: Path) -> Iterator[tuple[str, dict]]:
    for where, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: no JSON ({error.msg}, character {error.pos + 1})") from None
        except (ValueError, RecursionError) as error:  # a number too long, nesting too deep
            raise UserError(f"{where}: no JSON ({one_line(error)})") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: no JSON object")
        yield where, row


def _table(path: Path) -> Iterator[tuple[str, dict]]:
    for where, line in _lines(path):
        if not line.startswith(("# ", "word1\t")):  # SimLex-999: a comment, a head
            yield where, {"columns": line.split("\t"), "file": path.stem}


def _mmlu(path: Path) -> Iterator[tuple[str, dict]]:
    subject = path.stem.rpartition("_")[0]
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for columns in reader:
                if len(columns) != 6:
                    raise UserError(f"{path}:{reader.line_num}: {len(columns)} columns, expected 6")
                question, *choices, answer = columns
                row = {"question": question, "choices": choices, "answer": answer, "subject": subject}
                yield f"{path}:{reader.line_num}", row
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}:{reader.line_num}: no CSV ({one_line(error)})") from None


def _squad(path: Path) -> Iterator[tuple[str, dict]]:
    place = ""
    try:
        for i, article in enumerate(json.loads(path.read_bytes())["data"], 1):
            place = f", article {i}"
            for j, paragraph in enumerate(article["paragraphs"], 1):
                place = f", article {i}, paragraph {j}"
                for k, qa in enumerate(paragraph["qas"], 1):
                    yield f"{path}{place}, question {k}", {"article": article, "paragraph": paragraph, "qa": qa}
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no JSON ({error.msg})") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}{place}: malformed ({one_line(error)})") from None


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no UTF-8 ({one_line(error)})") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line.rstrip("\r")


def _text(text: str) -> str:
    # Some copies have lost the white space at the ends, or have other line ends.
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _strings(values: object, what: str) -> list[str]:
    """These values, if they are a list of strings; ValueError where they are not, such as one string of letters."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"the {what} are no list of strings")
    return values


def _number(label: object) -> int:
    """A label that is a whole number, or written as one."""
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise ValueError(f"the label {label!r} is no whole number")
    return int(label)


def _choice(question: str, choices: list[str], answer: int) -> dict:
    return {"question": _text(question), "choices": [_text(choice) for choice in choices], "answer": answer}


def exam(raw: dict) -> dict:
    """ARC, CommonsenseQA and OpenBookQA: nested as published, in columns on the hub."""
    question = raw["question"] if "question" in raw else raw["question_stem"]
    choices = question["choices"] if isinstance(question, dict) else raw["choices"]
    if isinstance(choices, list):
        choices = {key: [choice[key] for choice in choices] for key in ("label", "text")}
    stem = question["stem"] if isinstance(question, dict) else question
    labels, texts = (_strings(choices[key], what) for key, what in (("label", "labels"), ("text", "choices")))
    if len(labels) != len(texts) or len(labels) != len(set(labels)):
        raise ValueError(f"{len(set(labels))} different labels for {len(texts)} choices")
    answer = labels.index(raw["answerKey"]) if raw["answerKey"] in labels else -1
    return {"id": _text(raw["id"]), **_choice(stem, texts, answer)}


def piqa(raw: dict) -> dict:
    return _choice(raw["goal"], [raw["sol1"], raw["sol2"]], _number(raw["label"]))


def mmlu(raw: dict) -> dict:
    answer = _LETTERS[raw["answer"]] if raw["answer"] in _LETTERS else raw["answer"]
    answer = -1 if isinstance(answer, str) else _number(answer)
    return {"subject": raw["subject"], **_choice(raw["question"], _strings(raw["choices"], "choices"), answer)}


def squad(raw: dict) -> dict:
    article, paragraph, qa = (raw.get(key, raw) for key in ("article", "paragraph", "qa"))
    golds = qa["answers"]["text"] if isinstance(qa["answers"], dict) else [gold["text"] for gold in qa["answers"]]
    golds = _strings(golds, "answers")

    def line(text: str) -> str:  # one line: a prompt is made of lines, and copies differ in white space
        return " ".join(text.split())

    texts = {"title": article["title"], "context": line(paragraph["context"]), "question": line(qa["question"])}
    return {"id": _text(qa["id"]), **texts, "answers": sorted({line(gold) for gold in golds} - {""})}


def simlex(raw: dict) -> dict:
    columns = raw["columns"]
    return {"word1": columns[0], "word2": columns[1], "similarity": float(columns[3 if len(columns) == 10 else 2])}


def antsynnet(raw: dict) -> dict:
    word1, word2, label = raw["columns"]
    pos = raw["file"].partition("-")[0]
    return {"pos": pos, "word1": word1, "word2": word2, "relation": _RELATIONS.get(label)}


def ppdb(raw: dict) -> dict:
    """Two words a line, with a space after each; the file's name tells their relation."""
    word1, word2 = raw["columns"][0].split()
    return {"word1": word1, "word2": word2, "relation": raw["file"].removeprefix("ppdb_").removesuffix("s")}


def roget(raw: dict) -> list[dict]:
    """A headword and all its antonyms a line."""
    head, first, *others = raw["columns"]
    return [{"word1": head, "word2": word, "relation": "antonym"} for word in (first, *others)]


def wic(raw: dict) -> dict:
    word, _, indices, *sentences = raw["columns"]
    texts, spans = {}, {}
    for i, (index, sentence) in enumerate(zip(indices.split("-"), sentences, strict=True), 1):
        tokens = [token.strip() for token in sentence.split(" ")]  # no-break spaces
        texts[f"sentence{i}"], starts = detokenised(tokens)
        spans[f"span{i}"] = [starts[int(index)], starts[int(index)] + len(tokens[int(index)])]
    return {"word": word, **texts, **spans, "answer": _SENSES.get(raw["label"], -1)}


def detokenised(tokens: list[str]) -> tuple[str, list[int]]:
    """A tokenised sentence as it is written, and where in it each token starts.

    What the tokens do not say is guessed: a dash before a word in lower case becomes a hyphen (the
    tokeniser took hyphens apart as well), and a lone apostrophe ends a word.
    """
    text, starts, opened, space = "", [], set(), False
    for i, token in enumerate(tokens):
        before = after = True  # whether there is a space
        following = tokens[i + 1 :]
        if token in ("`", "'", '"'):
            mark, token = token, token.replace("`", "'")
            if token in opened:
                opened.remove(token)
                before = False
            elif mark != "'" or "'" in following:
                opened.add(token)
                after = False
            else:
                after = not "".join(following)[:1].isdigit()  # of '97
                before = not after
        elif token == "-":
            before = after = not (text[-1:].isalpha() and "".join(following)[:1].islower())
        elif token in _CLOSING or token.startswith('"-'):
            before = False
        elif token in _OPENING:
            after = False
        text += " " if token and before and space else ""
        starts.append(len(text))
        text += token
        space = after if token else space
    return text, starts
