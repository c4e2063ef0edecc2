"""Artifacts of another run in the place of this one's."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from lexicon.test_store import COLUMNS
from tiny.project import ROOT, files
from tiny.project import run as run_stage
from tiny.wordnet import train_tokenizer, write_wordnet

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.hashes import remove, sha256_tree
from dskd.lexicon.readers.wordnet import prepare
from dskd.lexicon.store import save_lexicon
from dskd.lexicon.tokens import word_tokens
from dskd.model.origin import ORIGIN
from dskd.model.tokenizer import separator_token
from dskd.params import Params, load_params
from dskd.pipeline import stages
from dskd.pipeline.heldout import check_students
from dskd.pipeline.inputs import (
    check_measures,
    check_scores,
    lexicon_files,
    run_lexicon,
    sampling,
    states_of,
    targets_of,
    teacher_tokenizer,
)
from dskd.pipeline.student import _targets
from dskd.students.model_card import Making, model_card, read_card
from dskd.targets.store import SenseTargets, save_targets

BOTH = "or get both of one run"


@pytest.fixture
def run(tmp_path, monkeypatch, tokenizer):
    """A working folder with a tokenizer in the place of the teacher, and a text."""
    monkeypatch.chdir(tmp_path)
    tokenizer.save_pretrained(artifacts.TEACHER)
    Path(artifacts.CORPUS).mkdir()
    (Path(artifacts.CORPUS) / "corpus.json").write_text("{}")


def test_a_lexicon_of_another_tokenizer_is_refused(run, tokenizer):
    tokens = word_tokens(tokenizer, ["fox", "lazy dog"])
    row = ["fox", "lazy dog", 1, "wordnet", "fox.n.01", False, "fox", tokens["fox"][0], tokens["lazy dog"]]
    save_lexicon(Path(artifacts.LEXICON), pd.DataFrame([row], columns=COLUMNS))
    assert run_lexicon()["tail_tokens"].tolist() == [tokens["lazy dog"]]
    for column, other in (("head_token", row[7] + 1), ("tail_tokens", row[8][1:])):
        save_lexicon(Path(artifacts.LEXICON), pd.DataFrame([row], columns=COLUMNS).assign(**{column: [other]}))
        with pytest.raises(UserError, match=r"was made with another tokenizer, which has other tokens for '.*lexicon`"):
            run_lexicon()


def test_no_stage_reads_the_lexicon_otherwise():
    reading = [path.name for path in (ROOT / "dskd/pipeline").glob("*.py") if "load_lexicon(" in path.read_text()]
    assert reading == ["inputs.py"]


@pytest.fixture
def params():
    """The committed ones, with one student."""
    found = load_params(ROOT / "params.yaml")
    return found.model_copy(update={"distill": found.distill.model_copy(update={"objectives": ["dskd"]})})


def of_another_model(params):
    """The parameters with a student that is cut from another model than the teacher."""
    return params.model_copy(
        update={"student": params.student.model_copy(update={"source": params.sources.teacher})}, deep=True
    )


@pytest.mark.parametrize("other", ["teacher", "corpus", "student"])
def test_a_student_of_another_run_is_not_scored_in_this_one(run, params, tokenizer, other):
    """The scores on held-out text that its folder has are its own run's, of as many blocks."""
    folder, own = Path(artifacts.STUDENTS) / "dskd-0", of_another_model(params)
    tokenizer.save_pretrained(ORIGIN)
    digests = {**states_of(), "student": sha256_tree(ORIGIN)}
    write_card(own, digests | {other: digests[other][::-1]})
    what = {"teacher": "teacher or tokenizer", "corpus": "text", "student": "student.source"}[other]
    with pytest.raises(UserError) as refused:
        check_students(own)
    assert str(refused.value) == f"{folder} was made with another {what}: run `dvc repro distill@dskd-0`, {BOTH}"
    write_card(own, digests)
    check_students(own)
    with pytest.raises(UserError, match=r"another student\.source"):  # of the teacher itself
        check_students(params)
    write_card(params, states_of())
    check_students(params)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("student.trained", 3),
        ("student.lora", {"rank": 2, "alpha": 4.0}),
        ("objective.sense", 5.0),
        ("distill.learning_rate", 0.5),
        ("harvest.codec", "senses+16"),
    ],
)
def test_a_student_that_was_trained_otherwise_is_not_scored(run, params, key, value):
    """Of as many layers, so that it can be loaded."""
    group, _, name = key.partition(".")
    values = params.model_dump()
    (values["objectives"]["dskd"] if group == "objective" else values[group])[name] = value
    write_card(Params.model_validate(values), states_of())
    with pytest.raises(UserError) as refused:
        check_students(params)
    assert f"dskd-0 was made with {key} = {value!r}, and params.yaml has " in str(refused.value)
    assert str(refused.value).endswith(": run `dvc repro distill@dskd-0`, or set it back")


def test_a_student_of_one_seed_does_not_count_as_another(run, params):
    """As one that was copied, or pulled twice: two seeds that are one would make intervals too narrow."""
    write_card(params, states_of())
    check_students(params)
    (Path(artifacts.STUDENTS) / "dskd-0").rename(Path(artifacts.STUDENTS) / "dskd-1")
    with pytest.raises(UserError, match=r"dskd-1 holds a student of the seed 0, and would count as one of 1"):
        check_students(params.model_copy(update={"distill": params.distill.model_copy(update={"seeds": [1]})}))


@pytest.mark.parametrize("key", ["seeds", "checkpoint_steps", "log_steps"])
def test_what_makes_no_other_student_may_be_changed(run, params, key):
    write_card(params, states_of())
    value = [0] if key == "seeds" else 7
    check_students(params.model_copy(update={"distill": params.distill.model_copy(update={key: value})}))


def write_card(params, digests):
    scores = {"ce": 4.0, "kl": 1.0, "agreement": 0.5}
    folder = Path(artifacts.STUDENTS) / "dskd-0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(model_card(params, Making("dskd", 0, 30, True, scores, 160, digests)))


def test_a_card_without_hashes_or_parameters_is_damaged(tmp_path):
    for text in ("", "## Made from\n\n```json\n{}\n```\n"):
        (tmp_path / "README.md").write_text(f"# dskd-0\n{text}")
        with pytest.raises(
            UserError, match=r'README\.md is damaged \(ValueError: no hashes and parameters below "Made'
        ):
            read_card(tmp_path / "README.md")


def write_targets(made_of=None):
    rows = torch.zeros(3, 4, 1, dtype=torch.int32)
    targets = SenseTargets(torch.zeros(1, 2), rows, rows.clone())
    save_targets(Path(artifacts.TARGETS) / "dskd", targets, made_of)


@pytest.mark.parametrize("other", ["teacher", "corpus"])
def test_targets_of_another_run_are_refused(run, params, other):
    """Of as many blocks, so that nothing else tells them from the right ones."""
    write_targets(states_of() | targets_of(params, "dskd"))
    given = SimpleNamespace(hashes=states_of() | {"states": "of no matter"})
    assert _targets(params, "dskd", given).pull.shape == (3, 4, 1)
    given.hashes[other] = "another"
    what = {"teacher": "teacher or tokenizer", "corpus": "text"}[other]
    with pytest.raises(UserError, match=f"another {what}: run `dvc repro targets`, {BOTH}"):
        _targets(params, "dskd", given)


def test_targets_of_other_parameters_senses_or_words_are_refused(run, params):
    Path(artifacts.LEXICON).write_text("words")
    Path(artifacts.SENSES).mkdir()
    (Path(artifacts.SENSES) / "senses.safetensors").write_text("senses")
    made_of, given = states_of() | targets_of(params, "dskd"), SimpleNamespace(hashes=states_of())
    others = {
        "kind of targets": {"variant": "shuffled"},
        "value of targets": {"settings": params.targets.model_dump() | {"neighbours": 1}},
        "sense dictionary": {"senses": "another"},
        "lexicon": {"lexicon": "another"},
    }
    for what, change in others.items():
        write_targets(made_of | change)
        with pytest.raises(UserError, match=f"dskd was made with another {what}.*: run `dvc repro targets`"):
            _targets(params, "dskd", given)
    remove(artifacts.LEXICON)  # as where students are trained of what another machine made
    _targets(params, "dskd", given)


def test_targets_that_do_not_say_of_what_they_are_are_refused(run, params):
    write_targets()
    with pytest.raises(UserError, match=r"origin\.json is missing: make it with `dvc repro targets`"):
        _targets(params, "dskd", SimpleNamespace(hashes=states_of()))


def test_finished_scores_are_taken_back_only_for_what_they_were_made_of(project):
    def again(**changes):
        values = yaml.safe_load(Path("params.yaml").read_text())
        for group, change in changes.items():
            values[group] |= change
        Path("params.yaml").write_text(yaml.safe_dump(values))
        return run_stage("evaluate")

    def mark():
        return (project / "reports/.scores.fingerprint").read_text().split()[0]

    assert again()[0] == 0
    first = mark()
    assert again()[0] == 0 and mark() == first
    assert again(evaluate={"items": 7})[0] == 0 and mark() != first
    code, text = again(distill={"learning_rate": 0.5})
    assert code == 1 and "dskd-0 was made with distill.learning_rate = 0.002, and params.yaml has 0.5" in text
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["corpus"]["seed"], values["distill"]["learning_rate"] = 1, 0.002
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert run_stage("corpus")[0] == 0
    code, text = run_stage("evaluate")
    assert code == 1 and text.startswith(
        "dskd: artifacts/students/dskd-0 was made with another text: run `dvc repro dis"
    )


def set_parameter(group, key, value):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values[group][key] = value
    Path("params.yaml").write_text(yaml.safe_dump(values))


# A parameter, and the artifact that is of its old value for each stage that would read it.
CHANGED = [
    (("sources", "teacher", "sha256"), "0" * 64, "teacher", ["lexicon", "prompts", "corpus", "harvest", "benchmarks"]),
    (("sources", "wordnet", "sha256"), "0" * 64, "sources/nltk_data", ["lexicon", "corpus", "harvest", "senses"]),
    (("runtime", "dtype"), "bfloat16", "states", ["targets", "distill", "quality", "evaluate"]),
    (("lexicon", "max_span"), 1, "reports/lexicon", ["senses", "targets", "distill", "quality", "evaluate"]),
    (("prompts", "shots"), 3, "prompts", ["corpus"]),
    (("corpus", "train_tokens"), 320, "corpus", ["harvest", "targets", "distill", "quality", "evaluate"]),
    (("harvest", "top_tokens"), 4, "states", ["distill"]),
    (("senses", "seed"), 1, "reservoir", ["senses", "quality"]),
    (("senses", "k"), 1, "senses", ["targets", "distill", "quality", "evaluate"]),
    (("benchmarks", "chat_items"), 7, "benchmarks", ["quality", "evaluate"]),
]


@pytest.mark.parametrize(("key", "value", "artifact", "readers"), CHANGED)
def test_a_stage_by_hand_takes_nothing_that_was_made_with_other_parameters(project, key, value, artifact, readers):
    values = yaml.safe_load(Path("params.yaml").read_text())
    group = values
    for part in key[:-1]:
        group = group[part]
    had, group[key[-1]] = group[key[-1]], value
    Path("params.yaml").write_text(yaml.safe_dump(values))
    name, before = ".".join(key).removesuffix(".sha256"), files(project)
    path = artifact if artifact.startswith("reports") else f"artifacts/{artifact}"
    for stage in readers:
        code, text = run_stage(stage)
        assert code == 1 and text.startswith(
            f"dskd: {path} was made with {name} = {had!r}, and params.yaml has {value!r}: "
        )
        assert text.endswith(", or set it back")
    assert files(project) == before


def test_a_source_is_known_by_its_content_alone(project):
    """Another address or licence of the same bytes is no other source."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["sources"]["teacher"] |= {"source": "file:elsewhere", "licence": "corrected"}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert run_stage("lexicon")[0] == run_stage("harvest")[0] == 0


def test_a_text_that_is_added_to_the_dictionarys_is_read(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["sources"]["texts"] = {"more": values["sources"]["wikipedia"]}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    code, text = run_stage("senses")
    digest = values["sources"]["wikipedia"]["sha256"]
    assert code == 1 and f"was made with sources.texts.more = None, and params.yaml has '{digest}': run" in text


def test_a_student_of_targets_that_were_chosen_anew_is_not_scored(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["targets"]["neighbours"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(values))
    code, text = run_stage("evaluate")
    assert code == 1 and text.startswith("dskd: artifacts/targets/dskd was made with another value of targets.*: run")
    assert run_stage("targets")[0] == 0
    code, text = run_stage("evaluate")
    assert code == 1 and text.startswith("dskd: artifacts/students/dskd-0 was made with another choice of targets: run")


def test_a_student_is_not_made_of_targets_of_an_earlier_dictionary(project):
    set_parameter("senses", "k", 1)
    assert run_stage("senses")[0] == 0
    code, text = run_stage("distill")
    assert code == 1 and text.startswith(
        "dskd: artifacts/targets/dskd was made with another sense dictionary: run `dvc"
    )


def test_states_and_senses_are_not_made_of_another_tokenizers_text_or_states(project):
    """The teacher was changed, and of the stages that read it the first were left out."""
    tokenizer = teacher_tokenizer()
    words = sorted(tokenizer.get_vocab())
    other = train_tokenizer(["zebras graze on savannas " + " ".join(reversed(words))] * 9, len(tokenizer))
    assert separator_token(other) == separator_token(tokenizer) and len(other) == len(tokenizer)
    remove(Path(artifacts.TEACHER) / "SHA256SUMS")
    other.save_pretrained(artifacts.TEACHER)
    for stage, folder, what in (
        ("corpus", artifacts.PROMPTS, "teacher or tokenizer: run `dvc repro prompts`"),
        ("harvest", artifacts.CORPUS, "tokenizer: run `dvc repro corpus`"),
        ("senses", artifacts.RESERVOIR, "teacher or tokenizer: run `dvc repro harvest`"),
        ("evaluate", artifacts.BENCHMARKS, "tokenizer: run `dvc repro benchmarks`"),
    ):
        before = files(project / "artifacts")
        assert run_stage(stage) == (1, f"dskd: {folder} was made with another {what}, {BOTH}")
        assert files(project / "artifacts") == before


@pytest.mark.parametrize(("key", "word"), [("heldout_share", "fast"), ("heldout_pairs", "fast and slow")])
def test_words_and_pairs_that_are_held_out_are_not_trained(project, key, word):
    """As by a lexicon that was made before one of its parameters was changed, and came without its report."""
    set_parameter("lexicon", key, 1.0)
    with pytest.raises(UserError) as refused:
        run_lexicon(load_params().lexicon)
    assert str(refused.value).startswith(f"artifacts/lexicon.parquet has relations of {word}, held out by lexicon.seed")
    assert str(refused.value).endswith("run `dvc repro lexicon`, or set them back")


def test_a_source_that_was_changed_is_fetched_before_it_is_read(project):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["sources"]["wikipedia"]["sha256"] = "0" * 64
    Path("params.yaml").write_text(yaml.safe_dump(values))
    code, text = run_stage("corpus")
    assert code == 1 and text == (
        "dskd: artifacts/sources/wikipedia.xml.bz2 is not what sources.wikipedia names (its sha256 is another): "
        "run `dvc repro sources`, or set it back"
    )
    code, text = run_stage("harvest")
    assert code == 1 and text.startswith("dskd: artifacts/corpus was made with sources.wikipedia = ")


def test_a_word_list_that_was_changed_is_fetched_before_it_is_read(run, params):
    values = params.model_dump()
    values["sources"]["lists"] = {"mine": {"synonyms": {"source": "file:own/a.txt", "licence": "mine"}}}
    values["lexicon"]["weights"]["mine"] = 4.2
    values["sources"]["morphology"], values["lexicon"]["negations"] = None, []
    place = Path(artifacts.SOURCES) / "lexicon/mine.synonyms.txt"
    place.parent.mkdir(parents=True)
    place.write_text("fast rapid\n")
    write_wordnet(Path("wordnet"))
    prepare(Path("wordnet"), Path(artifacts.SOURCES) / "nltk_data")
    values["sources"]["lists"]["mine"]["synonyms"]["sha256"] = sha256_tree(place)
    assert lexicon_files(Params.model_validate(values)).lists == {"mine.synonyms": (place, None)}
    place.write_text("fast speedy\n")
    with pytest.raises(UserError, match=r"mine\.synonyms\.txt is not what sources\.mine\.synonyms names"):
        lexicon_files(Params.model_validate(values))


def test_a_dictionary_is_made_and_measured_by_the_key_of_its_sample(project):
    set_parameter("senses", "key", "predicted")
    for stage in ("senses", "quality"):
        before = files(project)
        says = "dskd: artifacts/reservoir was made with senses.key = 'observed', and params.yaml has 'predicted'"
        assert run_stage(stage) == (1, f"{says}: run `dvc repro harvest`, or set it back")
        assert files(project) == before
    assert run_stage("harvest")[0] == run_stage("senses")[0] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("tokens", 320), ("gloss_share", 0.3), ("text", "training"), ("reservoir", 5), ("reservoir", 500), ("seed", 7)],
)
def test_a_dictionary_is_not_made_of_a_sample_of_another_text(project, key, value):
    """By hand, before `harvest` has run with the new value: the dictionary would be the old one under new figures."""
    set_parameter("senses", key, value)
    code, text = run_stage("senses")
    assert code == 1 and text.startswith(f"dskd: artifacts/reservoir was made with senses.{key} = ")
    assert f", and params.yaml has {value!r}: run `dvc repro harvest`" in text


def test_the_sample_that_harvest_takes_is_the_one_that_senses_reads(project):
    for key, value in (("gloss_share", 0.0), ("text", "training"), ("key", "predicted"), ("reservoir", 3)):
        set_parameter("senses", key, value)
        assert run_stage("harvest")[0] == run_stage("senses")[0] == 0


def test_no_report_is_written_on_scores_of_an_earlier_student(project):
    assert run_stage("evaluate")[0] == 0
    check_scores(["dskd-0"])
    set_parameter("distill", "learning_rate", 0.01)
    assert run_stage("distill")[0] == 0
    with pytest.raises(
        UserError, match=r"^reports/scores is of another student than artifacts/students/dskd-0: run `dvc repro eval"
    ):
        stages.report(load_params())


def test_no_report_is_written_on_measures_of_an_earlier_dictionary(project):
    for stage in ("evaluate", "quality"):
        assert run_stage(stage)[0] == 0
    check_measures(artifacts.read_json(artifacts.SENSES_REPORT))
    set_parameter("senses", "k", 1)
    assert run_stage("senses")[0] == 0
    with pytest.raises(
        UserError, match=r"^reports/senses\.json is of another dictionary than artifacts/senses: run `dvc"
    ):
        stages.report(load_params())


def test_no_report_is_written_on_scores_of_another_lexicon_or_number_of_items(project):
    assert run_stage("evaluate")[0] == 0
    set_parameter("evaluate", "items", 7)
    with pytest.raises(
        UserError, match=r"^reports/scores was made with evaluate\.items = \d+, and params.yaml has 7: run"
    ):
        stages.report(load_params())
    assert run_stage("evaluate")[0] == 0
    set_parameter("lexicon", "max_span", 1)
    assert run_stage("lexicon")[0] == 0
    with pytest.raises(UserError, match=r"^reports/scores was made with another lexicon: run `dvc repro evaluate`"):
        stages.report(load_params())


def test_the_parameters_that_are_noted_are_those_that_dvc_watches(project):
    """Or a stage would be refused that DVC takes for up to date. Sources that are kept as they were fetched are watched
    as files; a benchmark's and a prompt's parameters are noted with these, on which the others depend."""
    of_files = {
        f"sources.{name}" for name in ("morphology", "mythes", "teacher", "texts", "wikipedia", "wiktionary", "wordnet")
    }
    above = {"corpus": {"prompts", "prompts.sets"}, "evaluate": {"benchmarks"}, "senses": {*sampling(load_params())}}
    watched = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    made_by = {
        path: stage
        for stage, of in watched.items()
        for out in of["outs"]
        for path in ([out] if isinstance(out, str) else out)
    }
    notes = sorted(project.glob("artifacts/*/origin.json")) + sorted(project.glob("reports/*/origin.json"))
    assert len(notes) >= 8
    for note in notes:
        stage = made_by[note.parent.relative_to(project).as_posix()]
        for key in artifacts.read_json(note)["parameters"]:
            parents = {".".join(key.split(".")[:n]) for n in range(1, 5)}
            assert parents & {*watched[stage]["params"], *of_files, *above.get(stage, ())}, f"{stage}: {key}"


def test_a_lexicon_is_of_its_report(project):
    """The table may come from a remote or the hub, and its report from Git."""
    note = artifacts.read_json("reports/lexicon/origin.json")
    artifacts.write_json("reports/lexicon/origin.json", note | {"lexicon": "another"})
    for stage in ("targets", "quality", "evaluate"):
        assert run_stage(stage)[1].startswith(
            "dskd: reports/lexicon was made with another lexicon: run `dvc repro lexi"
        )


def test_an_artifact_of_before_has_to_be_made_anew(project):
    note = artifacts.read_json("artifacts/senses/origin.json")
    del note["parameters"]
    remove("artifacts/senses/SHA256SUMS")
    artifacts.write_json("artifacts/senses/origin.json", note)
    says = "dskd: artifacts/senses does not say with which parameters it was made: run `dvc repro senses`"
    assert run_stage("targets") == (1, says)


def test_a_training_without_a_point_of_its_curves_is_refused_before_it_begins(project):
    """The notebook draws them, after hours of training."""
    set_parameter("distill", "log_steps", 9)
    before = files(project)
    code, text = run_stage("distill")
    assert code == 1 and text.startswith("dskd: distill.log_steps = 9, but the training has 8 steps, so")
    assert files(project) == before
