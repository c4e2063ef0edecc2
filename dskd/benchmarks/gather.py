"""Public benchmarks, brought to one form from a mirror folder or from where they are published.

One JSON object a line, the same bytes from either place, checked by SHA-256. The rows:

    choices    id, (MMLU: subject,) question, choices, answer: the index of the right one
    WiC        id, word, sentence1, sentence2, span1, span2: [start, end) of the word in characters,
               answer: 1 where both senses are the same
    SQuAD      id, title, context, question, answers: unique golds, sorted; none where there is no answer
    SimLex     id, word1, word2, similarity: 0 to 10
    AntSynNET  id, pos, word1, word2, relation: synonym or antonym
    PPDB, Roget  the same without pos

Ids are the published ones, else twelve digits of a hash of the row; rows stand in the order of a hash of the
id, so that it depends on no place, and the first N are a fair sample over subjects, articles and files.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dskd.benchmarks.catalogue import BENCHMARKS, SPLITS, Benchmark
from dskd.benchmarks.files import Unavailable, fetch, origin
from dskd.benchmarks.published_rows import records
from dskd.errors import UserError, one_line
from dskd.infra.artifacts import write_jsonl
from dskd.infra.hashes import remove, sha256_file
from dskd.infra.randomness import hash_integers, text_key

FAULTS = ("label_outside", "empty_choice")  # why a row is left out

MIRROR = "DSKD_MIRROR"
THE_MIRROR = f"the mirror ({MIRROR})"  # its path is nobody's business: summaries and reports are kept in Git


def mirror_folder() -> Path | None:
    """The user's folder with copies of the benchmarks, where `DSKD_MIRROR` names one."""
    mirror = os.environ.get(MIRROR)
    return Path(mirror).expanduser() if mirror else None


def gather(destination: Path, mirror: Path | None) -> dict:
    """Write `NAME.SPLIT.jsonl` of every benchmark that can be had, and say which.

    The mirror comes first, the hub second; a benchmark that neither has is passed over. Which it was is said on
    stderr only, since it must not show in what is kept.

    Returns:
        name -> {"available": True, "rows": {split: count}, "faults": {fault: rows left out}}, or
        {"available": False, "how": one line: what failed, and the way to get it}.

    Raises:
        UserError: a file is malformed, or the canonical form of the mirror's is not the pinned one. (What the hub has
            is not the user's to mend: there another form makes the benchmark not available.)
    """
    mirror = Path(mirror) if mirror else None
    summary: dict[str, dict] = {}
    unreachable: set[str] = set()
    for name, benchmark in BENCHMARKS.items():
        written = {split: Path(destination) / f"{name}.{split}.jsonl" for split in SPLITS}
        for path in written.values():
            remove(path)
        with TemporaryDirectory() as work:
            try:
                place, files = _files(benchmark, mirror, Path(work), unreachable)
                faults = Counter(dict.fromkeys(FAULTS, 0))
                with _readable(place, mirror if place == THE_MIRROR else work):
                    canonical = {split: canonical_rows(benchmark, paths, faults) for split, paths in files.items()}
            except Unavailable as error:
                summary[name] = {"available": False, "how": f"{error}; {_way(benchmark)}"}
                print(f"{name}: not available; {error}", file=sys.stderr)
                continue
        counts = {split: len(rows) for split, rows in canonical.items()}
        left_out = "".join(f"; {n} left out: {fault}" for fault, n in faults.items() if n)
        print(
            f"{name}: {' and '.join(f'{n} {split}' for split, n in counts.items())} rows from {place}{left_out}",
            file=sys.stderr,
        )
        for split, rows in canonical.items():
            write_jsonl(written[split], rows)
        if wrong := _wrong(benchmark, {split: written[split] for split in canonical}, place):
            for path in written.values():
                remove(path)
            if place == THE_MIRROR:
                raise UserError(wrong)
            summary[name] = {"available": False, "how": wrong}
            print(f"{name}: not available; {wrong}", file=sys.stderr)
            continue
        summary[name] = {"available": True, "rows": counts, "faults": dict(faults)}
    return summary


@contextmanager
def _readable(place: str, folder: str | Path) -> Iterator[None]:
    """What the network gave and cannot be read (an error page, half a file) is as good as nothing. Messages call files
    by their names in their `folder`, since where that lies must not show in what is kept."""
    try:
        yield
    except UserError as error:
        what = str(error).replace(f"{folder}/", "")
        if place == THE_MIRROR:
            raise UserError(f"{place}: {what}") from None
        raise Unavailable(f"{place} gave something else: {what.partition(': delete it')[0]}") from None


def canonical_rows(benchmark: Benchmark, files: list[Path], faults: Counter) -> list[dict]:
    """The rows of one split, with ids and in canonical order; rows with a fault are counted and left out."""
    kept = []
    for where, raw in records(files):
        try:
            made = benchmark.row(raw)
            for row in made if isinstance(made, list) else [made]:
                fault = _fault(row)
                _dump(row).encode()  # half a surrogate pair has no bytes
                if fault:
                    faults[fault] += 1
                else:
                    kept.append(row)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            raise UserError(f"{where}: malformed row of {benchmark.name} ({one_line(error)})") from None
    named: list[dict] = []
    seen: Counter = Counter()
    for row in sorted(kept, key=_dump):  # so that the numbers of repeated ids depend on no order of rows either
        name = row.pop("id", None) or hashlib.sha256(_dump(row).encode()).hexdigest()[:12]
        seen[name] += 1
        named.append({"id": name if seen[name] == 1 else f"{name}-{seen[name]}", **row})
    # Mixed, since `text_key` puts ids that differ in their last digit side by side: SQuAD's of one paragraph.
    return sorted(named, key=lambda row: (int(hash_integers(text_key(row["id"]))), row["id"]))


def _dump(row: dict) -> str:
    return json.dumps(row, ensure_ascii=False)


def _fault(row: dict) -> str | None:
    choices = row.get("choices", ("F", "T"))  # WiC's
    if not 0 <= row.get("answer", 0) < len(choices) or row.get("relation", "") is None:
        return "label_outside"
    return None if all(choices) else "empty_choice"


def _files(
    benchmark: Benchmark, mirror: Path | None, work: Path, unreachable: set[str]
) -> tuple[str, dict[str, list[Path]]]:
    """The place in words, and the files of each split; Unavailable where no place has them all."""
    why = f"{MIRROR} is not set"
    if mirror is not None:
        files, missing = {}, []
        for split, patterns in benchmark.mirror.items():
            found = {pattern: sorted(mirror.glob(pattern)) for pattern in patterns}
            files[split] = [path for paths in found.values() for path in paths]
            missing += [pattern for pattern in patterns if not found[pattern]]
        if not missing:
            return THE_MIRROR, files
        why = f"{THE_MIRROR} lacks {', '.join(missing)}"
        if any(files.values()):  # half a copy is a mistake, which the hub would hide
            raise Unavailable(f"{why}, but holds the rest (the hub is asked where it holds nothing)")
    try:
        files = {split: [fetch(s, work, unreachable) for s in names] for split, names in benchmark.hub.items()}
    except Unavailable as error:
        raise Unavailable(f"{why}, and {error}") from None
    return _origins(benchmark), files


def _origins(benchmark: Benchmark) -> str:
    return " and ".join(dict.fromkeys(origin(source) for names in benchmark.hub.values() for source in names))


def _way(benchmark: Benchmark) -> str:
    names = ", ".join(name for patterns in benchmark.mirror.values() for name in patterns)
    again = "`dvc repro --single-item --force benchmarks && dvc repro`"
    return f"set {MIRROR} to a folder that holds {names}, or let {_origins(benchmark)} be reached; then {again}"


def _wrong(benchmark: Benchmark, written: dict[str, Path], place: str) -> str | None:
    for split, path in written.items():
        found, expected = sha256_file(path), benchmark.sha256[split]
        if found != expected:
            return (
                f"{benchmark.name} ({split}) from {place}: SHA-256 of the canonical file is {found}, expected "
                f"{expected}; that place holds another version: take another place ({_way(benchmark)})"
            )
    return None
