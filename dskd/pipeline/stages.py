"""The pipeline: one function a stage, which reads the artifacts before it and writes its own.

`dvc.yaml` runs each through its notebook; `python -m dskd STAGE` runs it without one. What a function
returns is what its notebook shows.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
from torch import Tensor

from dskd.benchmarks.catalogue import read_benchmark
from dskd.benchmarks.chat_prompts import NO_TEMPLATE, chat_rows
from dskd.benchmarks.gather import MIRROR, gather
from dskd.corpus.build import build_corpus
from dskd.corpus.documents import kept_name, kept_text
from dskd.corpus.prompts import load_prompts
from dskd.corpus.store import load_corpus, save_corpus
from dskd.corpus.teacher_answers import answer, teacher_alone, teacher_score, training_prompts
from dskd.infra import artifacts, processes
from dskd.infra.arithmetic import pin
from dskd.infra.artifacts import require
from dskd.infra.hashes import fingerprint, remove, size_mb
from dskd.infra.output import output
from dskd.infra.processes import check_launch
from dskd.lexicon import table as lexicon_table
from dskd.lexicon.build import collector_off, read_statements, settle_pairs
from dskd.lexicon.readers import wordnet
from dskd.lexicon.store import antonyms, load_lexicon, save_lexicon, synonyms
from dskd.lexicon.tokens import inflected_forms
from dskd.model.cut import split_depth
from dskd.model.load import import_gguf, load_decoder
from dskd.model.origin import OwnStudent, load_origin, teacher_split
from dskd.params import Objective, Params, chosen_objective, load_params, student_names
from dskd.pipeline.inputs import (
    NOT_OF_THE_LEXICON,
    cached_states,
    kept_dtype,
    labels,
    lexicon_file,
    lexicon_files,
    load_teacher,
    teacher_tokenizer,
    tokens,
    wordnet_reader,
)
from dskd.pipeline.models import load_models
from dskd.pipeline.student import heldout_of, make_student, means
from dskd.report.metrics import summarise
from dskd.scores.harness import CHAT
from dskd.scores.lexical_choice import build_items, read_vocabulary
from dskd.scores.lexicon_quality import coverage, gold_lists, lexicon_quality
from dskd.scores.measure import benchmark_rows, lexical_rows, pair_rows
from dskd.scores.store import Columns, heldout_rows, item_rows, read_columns
from dskd.senses.cluster import build_senses
from dskd.senses.store import SenseDictionary, load_senses, save_senses
from dskd.sources.fetch import fetch
from dskd.states.harvest import harvest as harvest_states
from dskd.states.store import States
from dskd.targets.choose import build_targets
from dskd.targets.store import SenseTargets, no_targets, save_targets


def begin() -> Params:
    """Go to the project's root, read the parameters and pin what has to be pinned. First cell of a notebook."""
    os.chdir(artifacts.project_root())
    params = load_params()
    check_launch(params.launch)
    processes.state()  # first: where it starts a process group, it may set the number of threads
    pin(params.runtime.threads)
    pd.set_option("display.max_colwidth", None)
    pd.set_option("display.precision", 3)
    return params


def sources(params: Params) -> pd.DataFrame:
    """Fetch and verify what the run is made of; turn it into a Hugging Face folder and a readable WordNet.

    Returns one row a source: name, source, sha256, megabytes.
    """
    with output(artifacts.SOURCES, checksums=True) as partial:
        partial.mkdir()
        every = params.sources.every()
        if params.student.source:
            every["student"] = params.student.source
        fetched = {name: partial / ".fetched" / name for name in every}
        for name, path in fetched.items():
            fetch(every[name], path)
        rows = [
            {"name": name, **every[name].model_dump(), "megabytes": size_mb(path)} for name, path in fetched.items()
        ]
        _place_model(fetched["teacher"], Path(artifacts.TEACHER), params)
        if params.student.source:
            _place_model(fetched["student"], partial / "student", params)
            load_origin(params, *load_teacher(params), partial / "student")  # whether the two go together
        wordnet.prepare(fetched["wordnet"], partial / "nltk_data")
        shutil.move(fetched["wikipedia"], partial / kept_name(every["wikipedia"].source, fetched["wikipedia"]))
        for name in every.keys() - NOT_OF_THE_LEXICON:
            place = partial / lexicon_file(every[name], name)
            place.parent.mkdir(exist_ok=True)
            shutil.move(fetched[name], place)
        remove(partial / ".fetched")
    return pd.DataFrame(rows)


def _place_model(fetched: Path, place: Path, params: Params) -> None:
    """Keep a model that was fetched, a GGUF file or a folder, as a Hugging Face folder."""
    if fetched.is_dir():
        load_decoder(fetched, params.runtime.dtype)  # it must load before it is kept
        with output(place, checksums=True) as partial:
            shutil.copytree(fetched, partial)
    else:
        import_gguf(fetched, place)


def lexicon(params: Params) -> tuple[pd.DataFrame, dict]:
    """The table of related words and its counts; every negation and every conflict as tables in `reports/lexicon`."""
    files, tokenizer, inflections = lexicon_files(params), teacher_tokenizer(), {}
    with collector_off():
        settled = settle_pairs(read_statements(files, params.lexicon), params.lexicon)
        if params.lexicon.inflections:
            inflections = inflected_forms(tokenizer, files.wordnet, {pair.head for pair in settled.pairs})
        table, summary = lexicon_table.build_table(params.lexicon, settled, tokenizer, inflections)
    save_lexicon(Path(artifacts.LEXICON), table)
    with output(Path(artifacts.LEXICON_REPORT)) as partial:
        partial.mkdir()
        lexicon_table.negations_table(settled).to_csv(partial / "negations.csv", index=False)
        lexicon_table.conflicts_table(settled).to_csv(partial / "conflicts.csv", index=False)
    return table, summary


def prompts(params: Params) -> dict[str, dict]:
    """Training prompts with the teacher's answers: none, where `prompts.sets` is empty.

    Returns what `answers.training_prompts` says of each set, and how good the teacher's answers are.
    """
    teacher_folder, summary = require(artifacts.TEACHER, "sources"), {}
    made_from = fingerprint(params.runtime, params.prompts, teacher_folder)
    with output(artifacts.PROMPTS, made_from, checksums=True) as partial:
        if params.prompts.sets:
            teacher, tokenizer = load_teacher(params)
            asked, summary = training_prompts(params.prompts, _mirror(), tokenizer)
            models = teacher_alone(teacher, tokenizer)
            for name, rows in asked.items():
                answer(models, name, rows, partial)
                summary[name]["teacher_score"] = teacher_score(name, rows, partial, tokenizer)
        artifacts.write_json(partial / "summary.json", summary)
    return summary


def corpus(params: Params) -> tuple[dict[str, Tensor], dict]:
    """Blocks of token ids, split by document, and what they are made of."""
    tensors, summary = build_corpus(
        params.corpus,
        params.lexicon,
        require(kept_text(artifacts.SOURCES), "sources"),
        wordnet_reader(),
        teacher_tokenizer(),
        load_prompts(artifacts.PROMPTS),
    )
    save_corpus(Path(artifacts.CORPUS), tensors, summary)
    return tensors, summary


def harvest(params: Params) -> States:
    """The teacher's states for all blocks; returns those of the training split."""
    if processes.launch(params.launch, "harvest"):
        return cached_states("train")
    teacher, _ = load_teacher(params)
    blocks, _ = load_corpus(Path(artifacts.CORPUS))
    split = teacher_split(params.student, teacher.config.num_hidden_layers)
    made_from = fingerprint(
        params.runtime,
        split_depth(split),
        params.harvest,
        require(artifacts.TEACHER, "sources"),
        require(artifacts.CORPUS, "corpus"),
    )
    parts = {part: blocks[part] for part in ("train", "heldout")}
    harvest_states(teacher, parts, split, params.harvest, Path(artifacts.STATES), made_from, kept_dtype(params))
    return cached_states("train")


def senses(params: Params) -> SenseDictionary:
    """The sense dictionary of the training text."""
    if not processes.launch(params.launch, "senses"):
        save_senses(Path(artifacts.SENSES), build_senses(cached_states("train"), labels("train"), params.senses))
    return load_senses(artifacts.SENSES)


def targets(params: Params, objective: str) -> SenseTargets:
    """The senses that pull and push each training position, for one objective; none where it has no sense term."""
    weights, folder = chosen_objective(params, objective), Path(artifacts.TARGETS) / objective
    if weights.targets == "none":
        save_targets(folder, no_targets())
        return no_targets()
    chosen = sense_targets(params, weights)
    save_targets(folder, chosen)
    return chosen


def sense_targets(params: Params, objective: Objective, senses: SenseDictionary | None = None) -> SenseTargets:
    """The targets of this objective, from the artifacts of the stages before or other senses; none is written."""
    table = load_lexicon(require(artifacts.LEXICON, "lexicon"))
    senses = senses or load_senses(artifacts.SENSES)
    relations = synonyms(table), antonyms(table)
    return build_targets(cached_states("train"), labels("train"), senses, *relations, params.targets, objective.targets)


def distill(params: Params, objective: str, seed: int) -> dict:
    """Train one student, score it on the held-out text, and write it as a Hugging Face folder.

    Returns its held-out scores: means of "ce", "kl", "agreement".
    """
    chosen_objective(params, objective)  # an unknown one is an error before processes are started
    if not processes.launch(params.launch, "distill", objective=objective, seed=seed):
        make_student(params, objective, seed)
    return means(artifacts.read_json(Path(artifacts.STUDENTS) / f"{objective}-{seed}" / "heldout.json"))


def benchmarks(params: Params) -> dict:
    """Bring the benchmarks to one form, and write the chat prompts of the paper's protocol.

    Returns the summary of `tasks.benchmarks.gather`: what there is, and how the rest is got; "no_chat" says why a
    benchmark has no chat prompts.
    """
    settings, tokenizer = params.benchmarks, teacher_tokenizer()
    with output(artifacts.BENCHMARKS, checksums=True) as partial:
        partial.mkdir()
        summary = gather(partial, _mirror())
        for name in CHAT:
            if summary[name]["available"] and not tokenizer.chat_template:
                summary[name]["no_chat"] = NO_TEMPLATE
                print(f"{name}: no chat prompts; {NO_TEMPLATE}", file=sys.stderr)
            elif summary[name]["available"]:
                rows = read_benchmark(partial, name, "test")
                pool = rows if name == "squad_v2" else read_benchmark(partial, name, "train")
                chosen = rows[: settings.chat_items]
                prompts = chat_rows(name, chosen, pool, tokenizer, settings.seed, settings.shots)
                artifacts.write_jsonl(partial / f"{name}.chat.jsonl", prompts)
        artifacts.write_json(partial / "summary.json", summary)
    return summary


def evaluate(params: Params) -> dict[str, Columns]:
    """Score the teacher, the untrained cut and every student; keep each block's and item's score.

    A run that was stopped goes on with the parts that are missing. Returns the scores as arrays.
    """
    models, heldout = load_models(params, student_names(params)), {}
    summary = artifacts.read_json(require(artifacts.BENCHMARKS, "benchmarks") / "summary.json")
    available = [name for name, value in summary.items() if value["available"]]
    with_chat = [name for name in available if "no_chat" not in summary[name]]
    inputs = [Path(artifacts.BENCHMARKS), *(Path(artifacts.STUDENTS) / name for name in student_names(params))]
    made_from = fingerprint(params.runtime, params.student, params.lexicon, params.evaluate, *inputs)
    with output(artifacts.SCORES, made_from) as partial:
        if not (partial / "heldout.jsonl").exists():
            cut, own = models.of("cut"), None
            if cut is not models:
                own = OwnStudent(cut.lower, cut.head, cut.logit_map, tokens("heldout"))
            for name, top in (("teacher", None), ("cut", cut.tops["cut"])):
                heldout[name] = heldout_of(params, top, models.head, models.logit_map, own)
            for name in student_names(params):
                heldout[name] = artifacts.read_json(Path(artifacts.STUDENTS) / name / "heldout.json")
            blocks, _ = load_corpus(Path(artifacts.CORPUS))
            artifacts.write_jsonl(partial / "heldout.jsonl", heldout_rows(heldout, blocks["heldout_source"]))
        if not (partial / "lexical.jsonl").exists():
            vocabulary = read_vocabulary(wordnet_reader())
            items = build_items(params.lexicon, params.evaluate.seed, params.evaluate.items, vocabulary)
            artifacts.write_jsonl(partial / "items.jsonl", item_rows(items, vocabulary.frequency))
            artifacts.write_jsonl(partial / "lexical.jsonl", lexical_rows(models, items))
        for part, score in (
            (
                "pairs",
                lambda: pair_rows(
                    models,
                    Path(artifacts.BENCHMARKS),
                    available,
                    params.evaluate.wic_train,
                    params.evaluate.antonym_train,
                ),
            ),
            ("cloze", lambda: benchmark_rows(models, "cloze", available, params.evaluate.cloze_items)),
            ("chat", lambda: benchmark_rows(models, "chat", with_chat, params.benchmarks.chat_items)),
        ):
            if not (partial / f"{part}.json").exists():
                rows, facts = score()
                artifacts.write_jsonl(partial / f"{part}.jsonl", rows)
                artifacts.write_json(partial / f"{part}.json", facts)  # last: it marks the part as done
    return read_columns()


def quality(params: Params) -> dict[str, pd.DataFrame]:
    """How good the lexicon is; writes `reports/quality.json` and returns its tables by name."""
    summary = artifacts.read_json(require(artifacts.BENCHMARKS, "benchmarks") / "summary.json")
    golds = gold_lists(Path(artifacts.BENCHMARKS), summary)
    tables = lexicon_quality(lexicon_files(params), params.lexicon, golds)
    table = load_lexicon(Path(artifacts.LEXICON))
    tables["coverage"] = coverage(labels("train"), table, load_senses(artifacts.SENSES), params.targets)
    artifacts.write_json(artifacts.QUALITY, {k: json.loads(t.to_json(orient="records")) for k, t in tables.items()})
    return tables


def report(params: Params) -> dict:
    """Write `reports/metrics.json` from the scores; the notebook of this stage becomes `reports/index.html`."""
    metrics = summarise(params, student_names(params))
    artifacts.write_json(artifacts.METRICS, metrics)
    return metrics


def _mirror() -> Path | None:
    """The user's folder with copies of the benchmarks."""
    mirror = os.environ.get(MIRROR)
    return Path(mirror).expanduser() if mirror else None
