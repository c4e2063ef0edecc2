import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from dskd.errors import UserError
from dskd.infra.profiles import apply_profile, check_default, load_profile
from dskd.params import Source, load_params, validated

ROOT = Path(__file__).parents[1]
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))

TAGGED = '{source: "file:x", sha256: "0000000000000000000000000000000000000000000000000000000000000000", licence: x}'


@pytest.fixture
def project(tmp_path):
    """A copy of the committed parameters and profiles, and one more profile."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    (tmp_path / "profiles" / "mine.yaml").write_text("# mine\nstudent: {layers: 7}\ndistill:\n  seeds: [3, 4]\n")
    return tmp_path


def change(project: Path, keys: str, value: str) -> Path:
    """Put `value`, a piece of YAML, under the dotted `keys` of params.yaml."""
    path = project / "params.yaml"
    values = node = YAML(typ="safe", pure=True).load(path)
    *above, last = keys.split(".")
    for key in above:
        node = node[key]
    node[last] = YAML(typ="safe", pure=True).load(value)
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    return path


def comments(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip().startswith("#")]


def test_the_committed_parameters_are_valid():
    params = load_params(ROOT / "params.yaml")
    assert set(params.distill.objectives) <= set(params.objectives)


def test_the_study_trains_each_sense_loss_beside_its_simpler_targets_and_controls_with_three_seeds_or_more(project):
    apply_profile("study", project)
    params = load_params(project / "params.yaml")
    simpler, controls = {"kd", "kd_hidden", "kd_whitened"}, {"span_shuffled", "span_random", "span_mean"}
    assert {"dskd", "span"} | simpler | controls <= set(params.distill.objectives)
    assert len(set(params.distill.seeds)) == len(params.distill.seeds) >= 3


def test_reading_gives_the_values_that_the_file_says(project):
    path = change(project, "distill.learning_rate", "2.5e-4")
    params = load_params(path)
    assert params.distill.learning_rate == 2.5e-4
    assert params.model_dump(exclude_unset=True).keys() == YAML(typ="safe", pure=True).load(path).keys()


@pytest.mark.parametrize(
    "key, value, names",
    [
        ("student.layer", "3", "student.layer is not a parameter"),
        ("extra", "{}", "extra is not a parameter"),
        ("objectives.kd.sense", "0.1", "a sense term needs targets"),
        ("objectives.ce.ce", "0.0", "all weights are 0, so that nothing is learnt"),
        ("objectives.dskd.targets", "others", "objectives.dskd.targets = 'others'"),
        ("distill.epochs", "two", "distill.epochs = 'two'"),
        ("distill.epochs", ".nan", "distill.epochs = nan"),
        ("distill.epochs", "true", "distill.epochs = True"),
        ("distill.epochs", "0", "distill.epochs = 0"),
        ("distill.seeds", "0", "distill.seeds = 0"),
        ("distill.seeds", "[]", "distill.seeds = []"),
        ("distill.seeds", "[0, x]", "distill.seeds.1 = 'x'"),
        ("distill.learning_rate", "'1e-3'", "distill.learning_rate = '1e-3'"),
        ("distill.learning_rate", "1e-3_0", "distill.learning_rate = '1e-3_0'"),
        ("distill.learning_rate", "-1.0", "distill.learning_rate = -1.0"),
        ("distill.learning_rate", "0", "distill.learning_rate = 0"),
        ("distill.weight_decay", ".nan", "distill.weight_decay = nan"),
        ("lexicon.heldout_share", "1.1", "lexicon.heldout_share = 1.1"),
        ("corpus.block_length", "7", "corpus.block_length = 7"),
        ("objectives.kd.kl", "-0.1", "objectives.kd.kl = -0.1"),
        ("objectives.kd.alpha", "0.1", "objectives.kd.alpha is not a parameter"),
        ("senses.key", "both", "senses.key = 'both'"),
        ("runtime.dtype", "float16", "runtime.dtype = 'float16'"),
        ("sources.wordnet.sha256", "abc", "sources.wordnet.sha256 = 'abc'"),
        ("student.trained", "999", "trained (999) must not exceed layers"),
        ("distill.objectives", "[kd, unheard]", "distill.objectives names 'unheard'"),
        ("harvest", "null", "harvest = None"),
        ("sources.morphology", "null", "lexicon.negations needs sources.morphology"),
        ("lexicon.negations", "[less]", "lexicon.negations.0 = 'less'"),
        ("lexicon.weights", "{}", "lexicon.weights has none for wordnet"),
        ("lexicon.weights.wordnet", "-1.0", "lexicon.weights.wordnet = -1.0"),
        (
            "distill.seeds",
            "[1180591620717411303424]",
            "distill.seeds.0: 1180591620717411303424 is more than 4294967295",
        ),
        ("distill.seeds", "[-1]", "distill.seeds.0 = -1"),
        ("distill.seeds", "['0;touch pwned;#']", "distill.seeds.0 = '0;touch pwned;#'"),
        ("distill.seeds", "[0, 1, 0]", "distill.seeds names one twice: 0, 1, 0"),
        ("distill.objectives", "[kd, kd]", "distill.objectives names one twice: kd, kd"),
        (
            "sources.wikipedia.archive_sha256",
            "",
            "sources.wikipedia: archive_sha256 has 0 hashes and source 1 archives",
        ),
        ("sources.wikipedia.archive_sha256", "'0'", "sources.wikipedia.archive_sha256 = '0'"),
        ("sources.wikipedia.source", "'https://me:s3cret@host/a'", "no user and password in an address"),
        ("lexicon.indirect_antonyms", "1", "lexicon.indirect_antonyms = 1"),
        ("sources.lists", "{mine: {}}", "lexicon.weights has none for mine"),
        ("sources.lists", "{wordnet: {}}", "lists.wordnet: that name is taken"),
        ("sources.lists", f"{{student: {{antonyms: {TAGGED}}}}}", "lists.student: that name is taken"),
        ("sources.tagged", f"{{wic: {TAGGED}}}", "tagged.wic: the dictionary's figures have that name"),
        ("sources.tagged", f"{{a_pos: {TAGGED}}}", "tagged.a_pos: the dictionary's figures have that name"),
        ("sources.texts", f"{{../x: {TAGGED}}}", "sources.texts.../x"),
        ("senses.tokens", "0", "senses.tokens"),
        ("evaluate.bootstrap", "999", "evaluate.bootstrap = 999"),
        ("distill.temperature", "1.0e-30", "distill.temperature = 1e-30"),
        ("distill.temperature", "1.0e+30", "distill.temperature = 1e+30"),
        ("senses.min_states", "0", "senses.min_states"),
        ("sources.lists", "{a b: {}}", "sources.lists.a b"),
        ("prompts.sets", "{squad_v2: {share: 1.0}}", "squad_v2 needs a source"),
        ("prompts.sets", "{wic: {share: 1.0}}", "prompts.sets.wic"),
        ("prompts.sets", "{piqa: {share: 0.0}}", "prompts.sets.piqa.share = 0.0"),
        ("harvest.codec", "null", "harvest.codec = None"),
        *[
            ("harvest.codec", f"'{codec}'", f"harvest.codec = '{codec}'")
            for codec in ("sense", "senses+", "senses+0", "senses+100", "residual", "token_mean+4", "exact ", "../x")
        ],
    ],
)
def test_a_fault_is_one_line_that_names_the_key_and_what_was_found(project, key, value, names):
    path = change(project, key, value)
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert names in str(caught.value) and "params.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "codec", ["exact", "senses", "senses+16", "residual+1", "context", "context+99", "token_mean", "random_sense"]
)
def test_a_codec_has_a_name_and_a_number_of_bytes(project, codec):
    assert load_params(change(project, "harvest.codec", codec)).harvest.codec == codec


def test_a_sampled_vocabulary_needs_what_codes_do_not_keep(project):
    change(project, "harvest", "{batch_size: 8, shard_blocks: 128, top_tokens: 16, codec: senses}")
    with pytest.raises(
        UserError, match=r"distill\.sampled_vocabulary needs .*harvest\.codec is 'senses'.*`codec: exact`"
    ):
        load_params(change(project, "distill.sampled_vocabulary", "64"))
    load_params(change(project, "harvest.codec", "exact"))


NO_NAMES = [
    "../../../victim",
    "/etc",
    "a/b",
    "",
    ".",
    "..",
    "a;touch$IFS/x",
    "$(x)",
    "a b",
    "a\nb",
    "-x",
    "é",
    "a.b",
    "a" * 81,
]


@pytest.mark.parametrize("name", [*NO_NAMES, "teacher", "cut", "human", "items", "s"])
def test_an_objective_has_a_name_that_files_and_reports_can_have(project, name):
    """It names folders, and stands in commands; the report has teacher and cut beside it."""
    path = project / "params.yaml"
    values = YAML(typ="safe", pure=True).load(path)
    values["objectives"][name] = values["objectives"]["kd"]
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    with pytest.raises(UserError, match=r"cannot name files|that name is taken") as caught:
        load_params(path)
    assert len(str(caught.value).splitlines()) == 1


def whole_numbers(model, above=()):
    """Dotted key -> value of every whole number below a group of parameters."""
    for name, value in model:
        if isinstance(value, BaseModel):
            yield from whole_numbers(value, (*above, name))
        elif type(value) is int:
            yield ".".join((*above, name)), value


def test_no_whole_number_is_without_bounds():
    params = load_params(ROOT / "params.yaml")
    numbers = dict(whole_numbers(params))
    assert len(numbers) > 30
    for key in numbers:
        for wrong in (2**70, 10**400, -1):
            values = node = params.model_dump()
            *above, last = key.split(".")
            for name in above:
                node = node[name]
            node[last] = wrong
            with pytest.raises(UserError, match=re.escape(key)) as caught:
                validated(values, "params.yaml")
            assert len(str(caught.value)) < 300


def test_a_key_with_a_line_break_makes_no_message_of_two_lines(project):
    with pytest.raises(UserError, match=r"'a\\nb' is not a parameter") as caught:
        load_params(change(project, "a\nb", "1"))
    assert "\n" not in str(caught.value)


def test_each_part_of_a_source_has_the_hash_of_its_archive():
    two = {"source": "pypi:a==1!x + file:y + pypi:b==1!z", "sha256": "0" * 64, "licence": "none"}
    assert Source(**two, archive_sha256=f"{'1' * 64} + {'2' * 64}").archive_sums() == ["1" * 64, "2" * 64]
    for sums in (None, "1" * 64, " + ".join(["1" * 64] * 3)):
        with pytest.raises(ValueError, match=r"archive_sha256 has \d hashes and source 2 archives"):
            Source(**two, archive_sha256=sums)


@pytest.mark.parametrize("source", ["https://h/a.zip", "file:a.zip", "hf:o/n@r!a.zip", "https://h/a!b + file:c!d"])
def test_the_hash_of_an_archive_that_is_none_is_refused(source):
    sums = " + ".join(["1" * 64] * (1 + source.count(" + ")))
    with pytest.raises(ValueError, match="archive_sha256 has"):
        Source(source=source, sha256="0" * 64, licence="none", archive_sha256=sums)


def test_an_archive_from_the_web_may_have_a_hash_in_each_part():
    values = {"source": "https://h/a!b + file:c + http://localhost/d!e", "sha256": "0" * 64, "licence": "none"}
    assert len(Source(**values, archive_sha256=f"{'1' * 64} + {'2' * 64}").archive_sums()) == 2
    assert Source(**values).archive_sums() == []


def test_a_file_from_before_there_were_prompts_has_none(project):
    path = project / "params.yaml"
    values = YAML(typ="safe", pure=True).load(path)
    del values["prompts"]
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    assert load_params(path) == load_params(ROOT / "params.yaml") and load_params(path).prompts.sets == {}


@pytest.mark.parametrize("content", ["", "# corpus:\n#   gloss_share: 0.0\n", "{}\n"])
def test_a_profile_without_values_is_refused(project, content):
    """As an editor leaves it that has not saved yet: "wrote params.yaml" would be said, and nothing changed."""
    (project / "profiles/own.yaml").write_text(content)
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"own\.yaml has no values, so that it would change nothing"):
        apply_profile("own", project)
    assert (project / "params.yaml").read_bytes() == before


def test_the_pages_are_of_the_default_run_alone(project):
    """`python -m dskd readme` would write the tables of a short run under the same headings."""
    shutil.copy(ROOT / "dvc.lock", project)
    check_default(project)
    apply_profile("smoke", project)
    with pytest.raises(UserError, match=r"params\.yaml has other values than the default run \(corpus\)"):
        check_default(project)
    apply_profile("default", project)
    check_default(project)
    lock = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(lock.replace("train_tokens: 301056", "train_tokens: 3072"))
    with pytest.raises(UserError, match=r"dvc\.lock tells of another corpus in \S+ than .*: run `python -m dskd prof"):
        check_default(project)


def test_targets_that_supervise_nothing_are_refused(project):
    (project / "profiles/own.yaml").write_text("targets: {related_share: 0.0, related_min: 0}\n")
    with pytest.raises(UserError, match="targets: related_share and related_min are both 0"):
        apply_profile("own", project)


def test_a_profile_that_empties_a_mapping_undoes_another(project):
    apply_profile("study", project)
    assert set(load_params(project / "params.yaml").sources.lists) == {"ppdb", "roget", "attract_repel"}
    for name in ("smoke", "default"):
        apply_profile("study", project)
        apply_profile(name, project)
        params = load_params(project / "params.yaml")
        assert params.sources.lists == {} and not params.lexicon.indirect_antonyms


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_gives_the_same_values_whichever_was_there_before(project, name):
    expected = load_profile(name, project)
    for other in ("paper", "study"):
        apply_profile(other, project)
        assert load_profile(name, project) == expected
    apply_profile(name, project)
    assert load_params(project / "params.yaml") == expected


def test_a_number_with_an_exponent_is_a_number_without_a_point_too(project):
    text = (project / "params.yaml").read_text()
    assert "learning_rate: 2.0e-3" in text
    (project / "params.yaml").write_text(text.replace("learning_rate: 2.0e-3", "learning_rate: 5e-4"))
    assert load_params(project / "params.yaml").distill.learning_rate == 5e-4


@pytest.mark.parametrize("key", ["student", "distill.epochs", "objectives.kd.margin", "sources.teacher.sha256"])
def test_a_missing_key_is_named(project, key):
    path = project / "params.yaml"
    values = node = YAML(typ="safe", pure=True).load(path)
    *above, last = key.split(".")
    for name in above:
        node = node[name]
    del node[last]
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    with pytest.raises(UserError, match=f"{key} is missing"):
        load_params(path)


def test_all_faults_are_told_at_once(project):
    change(project, "distill.epochs", "0")
    with pytest.raises(UserError, match=r"senses\.k = 0.*; distill\.epochs = 0"):
        load_params(change(project, "senses.k", "0"))


@pytest.mark.parametrize("text", ["", "a: [1", "- 1", "runtime: {threads: 1}\nruntime: {threads: 2}\n", "a: \x00"])
def test_a_file_that_is_no_mapping_or_no_yaml_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def test_a_file_that_is_missing_or_no_text_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml cannot be read"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"params\.yaml cannot be read"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", [*PROFILES, "mine"])
def test_a_profile_gives_valid_parameters_and_keeps_the_comments(project, name):
    before = comments(project / "params.yaml")
    overlay = YAML(typ="safe", pure=True).load(project / "profiles" / f"{name}.yaml") or {}
    assert apply_profile(name, project) == project / "params.yaml"
    after = YAML(typ="safe", pure=True).load(project / "params.yaml")

    def holds(changes, values):
        return all(holds(v, values[k]) if isinstance(v, dict) else values[k] == v for k, v in changes.items())

    load_params(project / "params.yaml")
    assert holds(overlay, after)
    assert before and [line for line in comments(project / "params.yaml") if line in before] == before


def test_a_profile_changes_its_own_keys_and_no_other(project):
    before = load_params(project / "params.yaml").model_dump()
    apply_profile("mine", project)
    after = load_params(project / "params.yaml").model_dump()
    before["student"]["layers"], before["distill"]["seeds"] = 7, [3, 4]
    assert after == before


def test_a_profile_applied_twice_changes_nothing_more(project):
    apply_profile("mine", project)
    once = (project / "params.yaml").read_bytes()
    apply_profile("mine", project)
    assert (project / "params.yaml").read_bytes() == once


def test_a_profile_has_the_values_that_it_writes_also_where_an_objective_takes_over_from_another(project):
    (project / "profiles" / "mine.yaml").write_text("objectives: {span: {hidden: 2.0}}\n")
    planned = load_profile("mine", project)
    assert planned.objectives["span_shuffled"].hidden == 2.0  # of `<<: *span`
    assert planned == load_params(apply_profile("mine", project))


@pytest.mark.parametrize("name", ["sources.wikipedia", "student.source"])
def test_a_source_does_not_keep_the_licence_of_the_one_before(project, name):
    """Which the cards of students would name."""
    of = {"source": "file:given/first", "sha256": "0" * 64, "licence": "CC0", "archive_sha256": None}

    def profile(name, of):
        for key in reversed(name.split(".")):
            of = {key: of}
        with (project / "profiles" / "mine.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(of, file)

    profile(name, of)
    before = apply_profile("mine", project).read_bytes()
    profile(name, {"source": "file:given/other", "sha256": "1" * 64})
    with pytest.raises(UserError) as caught:
        apply_profile("mine", project)
    assert f"mine.yaml: {name}.source is another one, and {name}.licence is missing" in str(caught.value)
    assert (project / "params.yaml").read_bytes() == before
    profile(name, {"source": "file:given/other", "sha256": "1" * 64, "licence": "mine"})
    apply_profile("mine", project)
    profile(name, {"sha256": "2" * 64})  # other content of the same
    apply_profile("mine", project)


def test_an_unknown_profile_is_an_error_that_lists_those_that_there_are(project):
    with pytest.raises(UserError, match=r"no profile 'miner'.*mine"):
        apply_profile("miner", project)


@pytest.mark.parametrize(
    "text, names",
    [
        ("student: {trained: 999}\n", r"trained \(999\)"),
        ("student: {depth: 3}\n", r"student\.depth"),
        ("distill: {learning_rate: fast}\n", r"distill\.learning_rate"),
        ("distill: 3\n", "distill = 3"),
        ("a: [1\n", "wrong"),
        ("- 1\n", "wrong"),
    ],
)
def test_a_faulty_profile_leaves_the_parameters_untouched(project, text, names):
    before = (project / "params.yaml").read_bytes()
    (project / "profiles" / "wrong.yaml").write_text(text)
    with pytest.raises(UserError, match=names):
        apply_profile("wrong", project)
    assert (project / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml", "profiles"]
