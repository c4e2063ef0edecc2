"""The stages of the pipeline, in the order they run. Each reads artifacts, calls a room, and writes what comes of it.

`dvc.yaml` runs each through its notebook; `python -m dskd STAGE` runs it without one. What a function returns is what
its notebook shows.
"""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
from torch import Tensor

from dskd.benchmarks.chat_prompts import write_chat_prompts
from dskd.benchmarks.gather import gather, mirror_folder
from dskd.codes.store import ABOUT_FILE
from dskd.corpus.build import build_corpus
from dskd.corpus.documents import check_text, kept_name
from dskd.corpus.prompts import load_prompts
from dskd.corpus.store import SOURCES as CORPUS_SOURCES
from dskd.corpus.store import heldout_documents, load_corpus, save_corpus
from dskd.corpus.tagged_text import check_tagged
from dskd.corpus.teacher_answers import answer_sets
from dskd.errors import UserError
from dskd.infra import artifacts, processes
from dskd.infra.arithmetic import pin
from dskd.infra.artifacts import require
from dskd.infra.hashes import check_code, fingerprint, remove, sha256_tree
from dskd.infra.made_of import check_made_of, save_made_of, values_of
from dskd.infra.output import output
from dskd.infra.processes import check_launch
from dskd.lexicon.build import collector_off, read_statements, settle_pairs
from dskd.lexicon.readers import wordnet
from dskd.lexicon.rungs import trained_relations
from dskd.lexicon.store import antonyms, save_lexicon, synonyms
from dskd.lexicon.table import build_table, check_sources, conflicts_table, negations_table
from dskd.lexicon.tokens import inflected_forms
from dskd.model.cut import split_depth
from dskd.model.folder import check_context
from dskd.model.load import import_model
from dskd.model.origin import ORIGIN, load_origin, teacher_split
from dskd.params import Objective, Params, chosen_objective, load_params, student_names
from dskd.pipeline.codes import make_codes
from dskd.pipeline.dictionary import make_senses
from dskd.pipeline.dictionary_measures import (
    dictionary_facts,
    heldout_table,
    load_dictionaries,
    probes_table,
    read_probes,
    run_documents,
)
from dskd.pipeline.heldout import check_students, heldout_of_all, means
from dskd.pipeline.inputs import (
    HELDOUT_WORDS,
    WORDNET,
    cached_states,
    check_inputs,
    check_measures,
    check_scores,
    is_of_the_lexicon,
    kept_dtype,
    labels,
    lexicon_file,
    lexicon_files,
    load_teacher,
    run_lexicon,
    run_senses,
    sample_of,
    scores_of,
    states_of,
    targets_of,
    teacher_hash,
    teacher_tokenizer,
    text_file,
    text_of,
    tokenizer_of,
    wordnet_reader,
    words_of,
)
from dskd.pipeline.models import load_models
from dskd.pipeline.reservoir import make_reservoir
from dskd.pipeline.student import make_student
from dskd.pipeline.summary import differences_table, main_figures
from dskd.report.metrics import asked_words, summarise
from dskd.scores.dictionary import plain
from dskd.scores.in_context import HeldoutText
from dskd.scores.lexicon_quality import coverage, gold_lists, lexicon_quality
from dskd.scores.measure import Words, measure
from dskd.scores.store import Columns, heldout_rows, heldout_tables, read_columns
from dskd.senses.store import Senses
from dskd.sources.fetch import fetch_all
from dskd.states.harvest import harvest as harvest_states
from dskd.states.store import States
from dskd.students.batches import schedule
from dskd.targets.choose import build_targets
from dskd.targets.store import SenseTargets, no_targets, save_targets

# The parameters that artifacts are made with, beside those of the stage's own name.
_OF_THE_LEXICON = tuple(f"sources.{name}" for name in ("morphology", "wiktionary", "mythes", "lists"))
# What quality and report read, as far as it notes its parameters.
_OF_QUALITY = (
    artifacts.TEACHER,
    WORDNET,
    artifacts.LEXICON_REPORT,
    artifacts.CORPUS,
    artifacts.SENSES,
    artifacts.BENCHMARKS,
)


def begin() -> Params:
    """Go to the project's root, read the parameters and pin what has to be pinned. First cell of a notebook."""
    os.chdir(root := artifacts.project_root())
    check_code(root)
    params = load_params()
    check_launch(params.launch)
    processes.state()  # first: where it starts a process group, it may set the number of threads
    pin(params.runtime.threads)
    pd.set_option("display.max_colwidth", None)
    pd.set_option("display.precision", 3)
    return params


def sources(params: Params) -> pd.DataFrame:
    """Fetch and verify what the run is made of, and put each source where the other stages look for it.

    Returns one row a source: name, source, sha256, megabytes.
    """
    every = params.sources.every()
    if params.student.source:
        every["student"] = params.student.source
    with output(artifacts.SOURCES, checksums=True) as partial:
        partial.mkdir()
        fetched, rows = fetch_all(every, partial / ".fetched")

        # Models become Hugging Face folders, WordNet a folder that NLTK reads.
        given = params.runtime.dtype, "sources.teacher", values_of(params, "sources.teacher")
        import_model(fetched["teacher"], Path(artifacts.TEACHER), *given)
        if params.student.source:
            given = params.runtime.dtype, "student.source", values_of(params, "student.source")
            import_model(fetched["student"], partial / "student", *given)
            load_origin(params, *load_teacher(params), partial / "student")  # whether the two go together
        wordnet.prepare(fetched["wordnet"], partial / "nltk_data")
        save_made_of(partial / "nltk_data", {}, values_of(params, "sources.wordnet"))

        # Texts and the rest of the lexicon's sources are kept as they are.
        for name, source in every.items():
            if name == "wikipedia" or name.startswith("texts."):
                check_text(source.source, fetched[name])
                folder = partial if name == "wikipedia" else partial / name.replace(".", "/")
                place = folder / kept_name(source.source, fetched[name])
            elif name.startswith("tagged."):
                check_tagged(source.source, fetched[name])
                place = partial / name.replace(".", "/")
            elif is_of_the_lexicon(name):
                place = partial / lexicon_file(source, name)
            else:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(fetched[name], place)
        remove(partial / ".fetched")
    return rows


def lexicon(params: Params) -> tuple[pd.DataFrame, dict]:
    """The table of related words and its counts; every negation and every conflict as tables in `reports/lexicon`."""
    check_inputs(params, artifacts.TEACHER, WORDNET)
    files, tokenizer, inflections = lexicon_files(params), teacher_tokenizer(), {}
    with collector_off():
        statements = read_statements(files, params.lexicon)
        settled = settle_pairs(statements, params.lexicon)
        if params.lexicon.inflections:
            words = {pair.head for pair in settled.pairs}
            inflections = inflected_forms(tokenizer, files.wordnet, words, params.lexicon)
        table, summary = build_table(params.lexicon, settled, tokenizer, inflections)
        check_sources(statements, settled, table)
    save_lexicon(Path(artifacts.LEXICON), table)
    with output(Path(artifacts.LEXICON_REPORT)) as partial:
        partial.mkdir()
        negations_table(settled).to_csv(partial / "negations.csv", index=False)
        conflicts_table(settled).to_csv(partial / "conflicts.csv", index=False)
        made_of = {**words_of(), "lexicon": sha256_tree(artifacts.LEXICON)}
        save_made_of(partial, made_of, values_of(params, "lexicon", *_OF_THE_LEXICON))
    return table, summary


def prompts(params: Params) -> dict[str, dict]:
    """Training prompts with the teacher's answers: none, where `prompts.sets` is empty.

    Returns what `answer_sets` says of each set.
    """
    check_inputs(params, artifacts.TEACHER)
    teacher_folder, summary = require(artifacts.TEACHER, "sources"), {}
    made_from = fingerprint(params.runtime, params.prompts, teacher_folder)
    with output(artifacts.PROMPTS, made_from, checksums=True) as partial:
        if params.prompts.sets:
            summary = answer_sets(params.prompts, mirror_folder(), *load_teacher(params), partial)
        artifacts.write_json(partial / "summary.json", summary)
        save_made_of(partial, {"teacher": teacher_hash()}, values_of(params, "prompts"))
    return summary


def corpus(params: Params) -> tuple[dict[str, Tensor], dict]:
    """Blocks of token ids, split by document, and what they are made of."""
    check_inputs(params, artifacts.TEACHER, WORDNET, artifacts.PROMPTS, artifacts.LEXICON_REPORT)
    check_made_of(artifacts.PROMPTS, "prompts", {"teacher": teacher_hash()})
    models = {"sources.teacher": artifacts.TEACHER, "student.source": f"{artifacts.SOURCES}/student"}
    check_context(
        params.corpus.block_length, {name: Path(path) for name, path in models.items() if Path(path).exists()}
    )
    tensors, summary = build_corpus(
        params.corpus,
        params.lexicon,
        text_file(params, "wikipedia"),
        wordnet_reader(),
        teacher_tokenizer(),
        load_prompts(artifacts.PROMPTS),
        run_lexicon(params.lexicon) if params.corpus.lexicon_share else None,
    )

    def note(folder: Path) -> None:
        asked = "prompts" if params.prompts.sets else "prompts.sets"
        save_made_of(folder, text_of(params), values_of(params, "corpus", asked, "sources.wikipedia", *HELDOUT_WORDS))

    save_corpus(Path(artifacts.CORPUS), tensors, summary, note)
    return tensors, summary


def harvest(params: Params) -> States:
    """The teacher's states for all blocks, and a sample of those for the dictionary's text; returns the former of the
    training split."""
    if processes.launch(params.launch, "harvest"):
        return cached_states("train")
    check_inputs(params, artifacts.TEACHER, WORDNET, artifacts.CORPUS)
    check_made_of(artifacts.CORPUS, "corpus", text_of(params))
    teacher, _ = load_teacher(params)
    if params.harvest.top_tokens > teacher.config.vocab_size:
        known = f"the teacher knows {teacher.config.vocab_size} tokens"
        raise UserError(f"harvest.top_tokens = {params.harvest.top_tokens}, but {known}: take at most as many")
    blocks, _ = load_corpus(Path(artifacts.CORPUS))
    split = teacher_split(params.student, teacher.config.num_hidden_layers)
    made_from = fingerprint(
        params.runtime,
        split_depth(split),
        params.harvest.of_states(),
        require(artifacts.TEACHER, "sources"),
        require(artifacts.CORPUS, "corpus"),
    )
    parts = {part: blocks[part] for part in ("train", "heldout")}
    place, dtype, made_of = Path(artifacts.STATES), kept_dtype(params), states_of(split_depth(split))

    def note(folder: Path) -> None:
        save_made_of(folder, made_of, values_of(params, "harvest.top_tokens", "runtime.dtype"))

    harvest_states(teacher, parts, split, params.harvest, place, made_from, dtype, note)
    make_reservoir(params, teacher)
    return cached_states("train")


def senses(params: Params) -> Senses:
    """The sense dictionary: clusters of the sample of the teacher's states."""
    check_inputs(params, artifacts.TEACHER, WORDNET, artifacts.LEXICON_REPORT, artifacts.RESERVOIR)
    check_made_of(artifacts.RESERVOIR, "harvest", sample_of(params))
    if not processes.launch(params.launch, "senses"):
        make_senses(params)
    return run_senses()


def codes(params: Params) -> dict:
    """Codes of the training text, where `harvest.codec` is not `exact`. Returns what they are and take."""
    check_inputs(params, artifacts.TEACHER, artifacts.CORPUS, artifacts.STATES)
    make_codes(params)
    return artifacts.read_json(Path(artifacts.CODES) / ABOUT_FILE)


def targets(params: Params, objective: str) -> SenseTargets:
    """The senses that pull and push each training position, for one objective; none where it has no sense term."""
    read = artifacts.LEXICON_REPORT, artifacts.CORPUS, artifacts.STATES, artifacts.SENSES
    check_inputs(params, artifacts.TEACHER, *read)
    weights = chosen_objective(params, objective)
    there = weights.targets != "none"
    chosen = sense_targets(params, weights) if there else no_targets()
    made_of = states_of() | targets_of(params, objective) if there else None
    save_targets(Path(artifacts.TARGETS) / objective, chosen, made_of)
    return chosen


def sense_targets(params: Params, objective: Objective, dictionary: Senses | None = None) -> SenseTargets:
    """The targets of this objective, from the artifacts of the stages before or other senses; none is written."""
    table = run_lexicon(params.lexicon)
    given = dictionary or run_senses(), synonyms(table), antonyms(table)
    return build_targets(cached_states("train"), labels("train"), *given, params.targets, objective.targets)


def distill(params: Params, objective: str, seed: int) -> dict[str, float]:
    """Train one student, score it on the held-out text, and write it as a Hugging Face folder.

    Returns its held-out scores: means of "ce", "kl", "agreement".
    """
    # What cannot work is an error before processes are started.
    check_inputs(params, artifacts.TEACHER, artifacts.CORPUS, artifacts.STATES)
    if chosen_objective(params, objective).sense:
        check_inputs(params, artifacts.LEXICON_REPORT, artifacts.SENSES)
    steps = len(schedule(len(labels("train")), seed, params.distill))
    if params.distill.log_steps > steps:
        raise UserError(
            f"distill.log_steps = {params.distill.log_steps}, but the training has {steps} steps, so that its curves "
            "would have no point: take fewer, or train longer"
        )
    if not processes.launch(params.launch, "distill", objective=objective, seed=seed):
        make_student(params, objective, seed)
    return means(artifacts.read_json(Path(artifacts.STUDENTS) / f"{objective}-{seed}" / "heldout.json"))


def benchmarks(params: Params) -> dict:
    """Bring the benchmarks to one form, and write the chat prompts of the paper's protocol.

    Returns the summary of `gather`: what there is, and how the rest is got; "no_chat" says why a benchmark has no
    chat prompts.
    """
    check_inputs(params, artifacts.TEACHER)
    tokenizer = teacher_tokenizer()
    with output(artifacts.BENCHMARKS, checksums=True) as partial:
        partial.mkdir()
        summary = gather(partial, mirror_folder())
        write_chat_prompts(partial, summary, tokenizer, params.benchmarks)
        artifacts.write_json(partial / "summary.json", summary)
        save_made_of(partial, tokenizer_of(), values_of(params, "benchmarks"))
    return summary


def quality(params: Params) -> dict[str, pd.DataFrame]:
    """How good lexicon and dictionary are: writes `reports/quality.json` and `reports/senses.json`, and returns the
    tables by name; "senses" has the measures of the dictionary."""
    check_inputs(params, artifacts.STATES, artifacts.RESERVOIR, *_OF_QUALITY)
    check_made_of(artifacts.RESERVOIR, "harvest", sample_of(params))
    summary = artifacts.read_json(require(artifacts.BENCHMARKS, "benchmarks") / "summary.json")
    golds = gold_lists(Path(artifacts.BENCHMARKS), summary)
    tables = lexicon_quality(lexicon_files(params), params.lexicon, golds)
    table = run_lexicon(params.lexicon)
    dictionaries = load_dictionaries(params)
    tables["coverage"] = coverage(labels("train"), table, dictionaries.senses, params.targets)
    artifacts.write_json(artifacts.QUALITY, {k: json.loads(t.to_json(orient="records")) for k, t in tables.items()})

    agreement = (
        probes_table(params, dictionaries, read_probes(params, run_documents())),
        heldout_table(params, dictionaries),
    )
    tables["senses"] = pd.concat(agreement, ignore_index=True)
    artifacts.write_json(artifacts.SENSES_REPORT, plain(dictionary_facts(dictionaries), tables["senses"]))
    return tables


def evaluate(params: Params) -> dict[str, Columns]:
    """Score the teacher, the untrained cut and every student; keep each block's and item's score.

    A run that was stopped goes on with the parts that are missing. Returns the scores as arrays.

    Raises:
        UserError: a student or the lexicon is of another run, or of other parameters; something is missing or damaged.
    """
    names = student_names(params)
    read = artifacts.LEXICON_REPORT, artifacts.CORPUS, artifacts.STATES, artifacts.BENCHMARKS
    check_inputs(params, artifacts.TEACHER, WORDNET, *read)
    check_made_of(artifacts.BENCHMARKS, "benchmarks", tokenizer_of())
    models = load_models(params, names)
    check_students(params)  # before finished scores are taken back, which may be theirs
    table = run_lexicon(params.lexicon)  # whose held-out words and pairs are asked
    folder = require(artifacts.BENCHMARKS, "benchmarks")
    inputs = [folder, *(Path(artifacts.STUDENTS) / name for name in names), Path(artifacts.TEACHER)]
    inputs += [require(artifacts.LEXICON, "lexicon"), require(artifacts.CORPUS, "corpus")]
    inputs += [require(WORDNET, "sources")] + ([Path(ORIGIN)] if params.student.source else [])
    inputs += sorted(Path(artifacts.STATES).glob("heldout-*"))  # those of the training text are large, and not read
    settings = params.student, params.lexicon, params.evaluate, params.benchmarks.chat_items
    made_from = fingerprint(params.runtime, params.harvest.batch_size, *settings, *inputs)
    with output(artifacts.SCORES, made_from) as partial:
        if not (partial / "heldout.jsonl").exists():
            blocks, account = load_corpus(Path(artifacts.CORPUS))
            documents = heldout_documents(blocks, account)
            rows = heldout_rows(heldout_of_all(params, models), blocks["heldout_source"], documents)
            artifacts.write_jsonl(partial / "heldout.jsonl", rows)
        measure(models, words_to_ask(table), folder, params, partial)
        save_made_of(partial, scores_of(), values_of(params, "evaluate", "benchmarks", *HELDOUT_WORDS))
    return read_columns()


def words_to_ask(lexicon: pd.DataFrame) -> Words:
    """What the lexical measures are made of, from the artifacts: general held-out text, and what was trained of the
    lexicon's table."""
    blocks, account = load_corpus(Path(artifacts.CORPUS))
    tables = heldout_tables({CORPUS_SOURCES[code] for code in blocks["heldout_source"].unique().tolist()})
    general = next(source for source, table in tables.items() if table == "heldout")
    chosen = blocks["heldout_source"] == CORPUS_SOURCES.index(general)
    documents = [name for name, here in zip(heldout_documents(blocks, account), chosen.tolist()) if here]
    seen = labels("train")
    counts = seen.flatten().bincount(minlength=len(teacher_tokenizer()))
    trained = trained_relations(lexicon, seen)
    return Words(wordnet_reader(), trained, HeldoutText(blocks["heldout"][chosen], documents, counts))


def report(params: Params) -> dict:
    """Write `reports/metrics.json` from the scores, and what DVC shows of it; the notebook of this stage becomes
    `reports/index.html`."""
    check_inputs(params, *_OF_QUALITY, artifacts.SCORES)
    check_made_of(artifacts.SCORES, "evaluate", scores_of())
    check_scores(student_names(params))
    metrics = summarise(params, student_names(params), asked_words(wordnet_reader()))
    artifacts.write_json(artifacts.METRICS, metrics)
    dictionary = artifacts.read_json(require(artifacts.SENSES_REPORT, "quality"))
    check_measures(dictionary)
    artifacts.write_json(artifacts.SUMMARY, main_figures(metrics, dictionary))
    with output(artifacts.DIFFERENCES) as partial:
        differences_table(metrics).to_csv(partial, index=False)
    return metrics
