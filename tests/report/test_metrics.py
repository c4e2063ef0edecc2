import json
from contextlib import chdir
from statistics import NormalDist, stdev

import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny.run import BLOCKS, EFFECT, ITEMS, QUESTIONS, WORDS, run_params, students, write_lexical, write_run

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.hashes import remove
from dskd.params import StudyParams
from dskd.pipeline.inputs import wordnet_reader
from dskd.report import metrics as metrics_module
from dskd.report.metrics import (
    Asked,
    asked_words,
    by_document,
    by_group,
    differences,
    margin,
    means,
    pairs,
    pool,
    primary_tests,
    rank_difference,
    spearman,
    spearman_difference,
    stack,
    summarise,
    trained_tokens,
)
from dskd.report.statistics import compare, estimate, holm, of_units
from dskd.report.tables import mean_cell
from dskd.scores.store import read_columns
from dskd.students.batches import schedule

PARAMS = run_params()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with chdir(folder):
        write_run(PARAMS)
    return folder


@pytest.fixture(scope="module")
def metrics(run):
    with chdir(run):
        return summarise(PARAMS, students(PARAMS))


@pytest.fixture
def columns(run, monkeypatch):
    monkeypatch.chdir(run)
    return read_columns()


# Parts


@pytest.mark.parametrize(
    "objectives, expected",
    [
        (["kd", "dskd"], "kd-dskd"),
        (["ce", "kd", "dskd", "dskd_random"], "kd-ce kd-dskd kd-dskd_random ce-dskd dskd_random-dskd"),
        (["dskd", "dskd_random"], "dskd-dskd_random"),
        (
            ["kd", "kd_hidden", "dskd", "dskd_random", "span", "span_random"],
            "kd-kd_hidden kd-dskd kd-dskd_random kd-span kd-span_random kd_hidden-dskd dskd_random-dskd "
            "kd_hidden-span dskd-span span_random-span",
        ),
        (["ce", "kd_hidden"], "ce-kd_hidden"),
        (["kd"], ""),
    ],
)
def test_each_objective_is_compared_with_the_baseline_and_the_sense_losses_with_the_others(objectives, expected):
    found = pairs(objectives)
    assert [f"{first}-{second}" for first, second in found] == expected.split()
    assert len({frozenset(pair) for pair in found}) == len(found)


def test_all_items_are_those_of_every_benchmark_in_one_order_for_all_models():
    piqa, wic = np.array([1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    columns = {"one": {"cloze": {"piqa": piqa, "wic": wic}}, "two": {"cloze": {"wic": wic, "piqa": piqa}}, "three": {}}
    pool(columns)
    for model in ("one", "two"):
        np.testing.assert_array_equal(columns[model]["cloze"]["all"], [1, 0, 0, 0, 1])
    assert columns["three"] == {}


def test_seeds_are_stacked():
    runs = [{"heldout": {"ce": np.arange(3.0) + 10 * seed}, "cloze": {"wic": np.ones(2)}} for seed in range(2)]
    found = stack(runs)
    np.testing.assert_array_equal(found["heldout"]["ce"], [[0, 1, 2], [10, 11, 12]])
    assert found["cloze"]["wic"].shape == (2, 2)


def test_a_mean_is_that_of_items_whose_seeds_were_averaged_and_likeness_a_rank_correlation():
    draw = np.random.default_rng(0)
    ce, alike, human = draw.normal(size=(2, 50)), draw.normal(size=(2, 25)), draw.normal(size=25)
    found = means({"heldout": {"ce": ce}, "similarity": {"simlex": alike + human}}, {"simlex": human}, PARAMS)
    assert found["heldout"]["ce"] == estimate(ce.mean(axis=0), 200, PARAMS.evaluate.seed)
    rho = found["similarity"]["simlex"]
    assert rho["mean"] == pytest.approx(np.mean([spearmanr(row + human, human).statistic for row in alike]))
    assert list(rho) == ["mean", "low", "high"] and rho["low"] < rho["mean"] < rho["high"]
    assert rho == {
        k: spearman_difference(np.zeros(25), alike + human, human, 200, PARAMS.evaluate.seed)[k] for k in rho
    }


@pytest.fixture(scope="module")
def three():
    """Three objectives, two seeds, two tables of tests and one of likeness; two measures truly differ."""
    draw = np.random.default_rng(1)

    def objective(effect):
        noise = draw.normal(0, 0.1, size=(3, 2, 30))
        tables = {"heldout": {"ce": 3 + effect + noise[0], "kl": 1 + noise[1]}, "lexical": {"synonym": noise[2]}}
        return tables | {"similarity": {"simlex": draw.normal(size=(2, 30))}}

    human = {"simlex": draw.normal(size=30)}
    objectives = {"kd": objective(0), "kd_hidden": objective(0), "dskd": objective(-1)}
    return objectives, human, differences(objectives, human, PARAMS)


def test_a_difference_is_the_second_less_the_first_over_seeds_and_items(three):
    objectives, human, found = three
    assert list(found) == ["kd_hidden - kd", "dskd - kd", "dskd - kd_hidden"]
    for name, of_pair in found.items():
        second, first = (objectives[part] for part in name.split(" - "))
        for table, key in (("heldout", "ce"), ("heldout", "kl"), ("lexical", "synonym")):
            cell = dict(of_pair[table][key])
            del cell["p_holm"]
            assert cell == compare(first[table][key], second[table][key], 200, PARAMS.evaluate.seed, margin(table, key))
            assert cell["seeds"] == 2
        simlex = dict(of_pair["similarity"]["simlex"])
        del simlex["p_holm"]
        rho = [objective["similarity"]["simlex"] for objective in (first, second)]
        assert simlex == rank_difference(*rho, human["simlex"], 200, PARAMS.evaluate.seed)
    assert found["dskd - kd"]["heldout"]["ce"]["mean"] == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("table, tests", [("heldout", 6), ("lexical", 3), ("similarity", 3)])
def test_p_values_are_corrected_over_all_pairs_and_measures_of_their_table(three, table, tests):
    cells = [cell for of_pair in three[2].values() for cell in of_pair[table].values()]
    assert len(cells) == tests
    assert [cell["p_holm"] for cell in cells] == holm([cell["p"] for cell in cells]).tolist()
    smallest = min(cells, key=lambda cell: cell["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, tests * smallest["p"]))


# A whole run


def test_every_model_has_means_with_intervals_and_the_command_that_makes_it(metrics, columns):
    assert list(metrics["models"]) == ["teacher", "cut", "kd", "dskd"]
    for name, model in metrics["models"].items():
        tables = {table: of for table, of in model.items() if table != "command"}
        words = {"ladder", "ladder_probability", "in_context"}
        benchmarks = {"cloze", "cloze_norm", "cloze_probability", "chat"}
        assert set(tables) == {"heldout", "glosses", "lexical", "similarity", *words} | benchmarks
        cells = [cell for of in tables.values() for cell in of.values()]
        assert all(cell["low"] <= cell["mean"] <= cell["high"] for cell in cells), name
    of_seeds = [columns[f"dskd-{seed}"]["heldout"]["ce"].mean() for seed in (0, 1)]
    assert metrics["models"]["dskd"]["heldout"]["ce"]["mean"] == pytest.approx(np.mean(of_seeds))
    assert metrics["models"]["teacher"]["heldout"]["kl"] == {"mean": 0, "low": 0, "high": 0}
    commands = [model["command"] for model in metrics["models"].values()]
    assert commands == [
        f"dvc repro {stage}" for stage in ("sources", "evaluate", "distill@kd-{0,1}", "distill@dskd-{0,1}")
    ]


def test_bits_a_byte_are_nats_a_token_by_the_bytes_of_the_text(metrics):
    for table, bytes_a_token in (("heldout", 4), ("glosses", 5)):
        found = metrics["models"]["kd"][table]
        assert found["bits_per_byte"]["low"] == pytest.approx(found["ce"]["low"] / bytes_a_token / np.log(2))
    assert metrics["heldout_tokens"] == BLOCKS * PARAMS.corpus.block_length
    assert metrics["heldout_documents"] == {"heldout": 13, "glosses": 14}


def test_all_items_of_the_benchmarks_are_a_measure_of_their_own(metrics):
    for table in ("cloze", "cloze_norm", "cloze_probability"):
        of = {key: cell["mean"] for key, cell in metrics["models"]["cut"][table].items()}
        assert list(of) == ["piqa", "wic", "all"]
        assert of["all"] == pytest.approx((of["piqa"] + of["wic"]) / 2)
    assert "all" not in metrics["models"]["cut"]["chat"]


def test_every_seed_has_its_means(metrics, columns):
    assert list(metrics["seeds"]) == students(PARAMS)
    for name, tables in metrics["seeds"].items():
        assert tables["heldout"]["kl"] == pytest.approx(columns[name]["heldout"]["kl"].mean())
        similarity, human = (columns[model]["similarity"]["simlex"] for model in (name, "human"))
        assert tables["similarity"]["simlex"] == pytest.approx(spearmanr(similarity, human).statistic)
    rho = [metrics["seeds"][f"kd-{seed}"]["similarity"]["simlex"] for seed in (0, 1)]
    assert metrics["models"]["kd"]["similarity"]["simlex"]["mean"] == pytest.approx(np.mean(rho))


def test_an_effect_is_found_and_where_there_is_none_none_is(metrics):
    (of_pair,) = metrics["differences"].values()
    for key in ("ce", "kl"):
        cell = of_pair["heldout"][key]
        assert cell["mean"] == pytest.approx(EFFECT, abs=0.02)
        assert cell["p_holm"] < 0.05 and cell["high"] < 0
    texts = ("heldout", "glosses")
    cells = [(table, key, cell) for table, of in of_pair.items() for key, cell in of.items()]
    rest = [cell for table, key, cell in cells if table not in texts or key not in ("ce", "kl")]
    assert len(rest) == 1 + 1 + 6 + 4 + 4 + 1 + 1 + 3 * 3 + 3
    assert all(cell["p_holm"] > 0.05 for cell in rest)


def test_the_metrics_say_what_was_scored_and_on_how_much(metrics):
    piqa, wic, arc = (metrics["benchmarks"][name] for name in ("piqa", "wic", "arc_easy"))
    counts = {"items": QUESTIONS, "asked": QUESTIONS, "too_long": 0}
    assert piqa["cloze"] == piqa["chat"] == wic["cloze"] == counts and "chat" not in wic
    assert arc["available"] is False and "cloze" not in arc
    assert metrics["lexical_items"]["synonym"] == ITEMS and len(metrics["lexical_items"]) == 6
    assert metrics["train_tokens"] == 5 * 1024  # 5 of 10 steps, as there is half an epoch
    assert metrics["in_context_documents"] == {"synonym_trained": ITEMS // 2} and metrics["resamples"] == 200
    assert metrics["baselines"]["antonym"]["most_frequent"] == pytest.approx(0.25)
    assert metrics["facts"] == {"wic": {"teacher": {"auc": 0.7}}}


@pytest.mark.parametrize("epochs", [1e-9, 0.25, 0.9, 1.0, 2.5])
def test_trained_tokens_are_those_of_the_schedule(epochs):
    """A student takes one step at least; with more than an epoch it sees the whole text."""
    settings, length = PARAMS.distill.model_copy(update={"epochs": epochs}), PARAMS.corpus.block_length
    params = PARAMS.model_copy(update={"distill": settings})
    for blocks in (10, 1176):
        seen = {block for step in schedule(blocks, 0, settings) for block in step.tolist()}
        of_step = settings.batch_size * length
        assert 0 <= trained_tokens(blocks * length, params) - len(seen) * length < of_step


def test_metrics_are_what_a_file_gives_back(metrics, tmp_path):
    artifacts.write_json(tmp_path / "metrics.json", metrics)
    assert artifacts.read_json(tmp_path / "metrics.json") == metrics


def test_a_run_without_benchmarks_has_metrics_of_all_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = run_params(seeds=[3], epochs=2.0)
    write_run(params, benchmarks=False)
    found = summarise(params, students(params))
    (of_pair,) = found["differences"].values()
    for tables in (found["models"]["kd"], found["seeds"]["kd-3"], of_pair):
        assert set(tables) - {"command"} == {
            *("heldout", "glosses", "lexical", "similarity", "ladder", "ladder_probability", "in_context")
        }
    assert found["models"]["kd"]["command"] == "dvc repro distill@kd-3"
    assert found["train_tokens"] == 10_000  # read twice, they are no more
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("objectives, seeds", [(("kd", "dskd"), (0,)), (("kd",), (0, 1)), (("dskd", "kd"), (0, 1))])
def test_scores_of_other_students_are_an_error_that_says_what_to_run(run, monkeypatch, objectives, seeds):
    monkeypatch.chdir(run)
    params = run_params(objectives, seeds)
    with pytest.raises(UserError, match=r"'dskd-1'.*want .*'kd-0'.*`dvc repro evaluate`"):
        summarise(params, students(params))


def test_scores_of_another_text_are_not_reported_with_this_one(tmp_path, monkeypatch):
    """As after the stage corpus alone: other documents, or other blocks of the same."""
    monkeypatch.chdir(tmp_path)
    write_run(PARAMS, benchmarks=False)
    path = f"{artifacts.CORPUS}/corpus.json"
    summary = artifacts.read_json(path)
    fewer = {**summary["by_split_and_source"], "heldout.wiki": {"tokens": 256, "bytes": 1024}}
    for change in ({"heldout_documents": ["wiki:900"]}, {"by_split_and_source": fewer}):
        artifacts.write_json(path, summary | change)
        with pytest.raises(
            UserError, match=r"^reports/scores is of another text than artifacts/corpus: run `dvc repro e"
        ):
            summarise(PARAMS, students(PARAMS))


@pytest.mark.parametrize(
    "path, stage",
    [
        (f"{artifacts.SCORES}/heldout.jsonl", "evaluate"),
        (f"{artifacts.CORPUS}/corpus.json", "corpus"),
        (artifacts.BENCHMARKS, "benchmarks"),
    ],
)
def test_what_a_report_is_made_of_is_named_where_it_is_missing(tmp_path, monkeypatch, path, stage):
    monkeypatch.chdir(tmp_path)
    write_run(PARAMS, benchmarks=False)
    remove(path)
    with pytest.raises(UserError, match=f"`dvc repro {stage}`"):
        summarise(PARAMS, students(PARAMS))


def test_blocks_of_one_document_are_drawn_together_where_there_are_documents_enough(columns):
    blocks = columns["kd-0"]["heldout"]["ce"][None]
    names = [f"d{i // 2}" for i in range(20)]
    found = by_document({"heldout": {"ce": blocks}, "lexical": {"synonym": blocks}}, {"heldout": {"ce": names}})
    np.testing.assert_array_equal(found["heldout"]["ce"], of_units(blocks, np.array(names)))
    assert found["heldout"]["ce"].shape == (1, 10) and found["lexical"]["synonym"] is blocks
    few = by_document({"heldout": {"ce": blocks}}, {"heldout": {"ce": ["a", "b"] * 10}})
    assert few["heldout"]["ce"] is blocks


def test_few_items_are_not_compared():
    tables = {"in_context": {"synonym_word": np.ones((2, 5)), "synonym_trained": np.ones((2, 6))}}
    found = differences({"kd": tables, "dskd": tables}, {}, PARAMS)["dskd - kd"]
    assert list(found["in_context"]) == ["synonym_trained"]


def declared(*tests):
    keys = ("measure", "student", "control", "margin")
    study = StudyParams.model_validate({"primary": [dict(zip(keys, test)) for test in tests]})
    return PARAMS.model_copy(update={"study": study})


def test_primary_tests_have_their_own_margins_and_are_corrected_for_one_another(run, monkeypatch):
    monkeypatch.chdir(run)
    params = declared(("heldout.kl", "dskd", "kd", 0.01), ("heldout.agreement", "dskd", "kd", 0.5))
    different, equivalent = summarise(params, students(params))["primary"]
    assert (different["mean"], different["outcome"]) == (pytest.approx(EFFECT, abs=0.02), "different")
    assert equivalent["outcome"] == "equivalent within 0.5"
    for key in ("p", "p_equivalent"):
        both = [different[key], equivalent[key]]
        assert [different[f"{key}_holm"], equivalent[f"{key}_holm"]] == holm(both).tolist()
    (swapped,) = summarise(only := declared(("heldout.kl", "kd", "dskd", 0.01)), students(only))["primary"]
    assert swapped["mean"] == pytest.approx(-different["mean"])


def test_an_outcome_is_that_of_the_corrected_p_values():
    draw = np.random.default_rng(4)
    kd = draw.normal(size=(3, 40))
    noise = draw.normal(size=40)
    dskd = kd + (noise - noise.mean()) / noise.std(ddof=1)  # a mean of 0 with a standard error of .158
    stacked = {"kd": {"heldout": {"kl": kd}}, "dskd": {"heldout": {"kl": dskd}}}
    outcomes = {}
    for number in (1, 8):
        params = declared(*[("heldout.kl", "dskd", "kd", 0.35)] * number)
        first = primary_tests(stacked, params)[0]
        assert first["p_equivalent_holm"] == pytest.approx(min(1, number * first["p_equivalent"]))
        outcomes[number] = first["outcome"]
    assert outcomes == {1: "equivalent within 0.35", 8: "undecided"}


def test_a_primary_test_of_what_is_not_measured_is_an_error_that_says_what_is(run, monkeypatch):
    monkeypatch.chdir(run)
    params = declared(("heldout.loss", "dskd", "kd", 0.01))
    with pytest.raises(UserError, match=r"'heldout.loss'; this run has heldout.ce, heldout.kl"):
        summarise(params, students(params))


@pytest.mark.parametrize("items", [1, 5])
def test_a_primary_test_of_few_items_is_an_error_that_says_how_many_it_takes(items):
    stacked = {name: {"heldout": {"kl": np.zeros((1, items))}} for name in ("kd", "dskd")}
    with pytest.raises(UserError, match=f"'heldout.kl', of which this run has {items} items: it takes 6"):
        primary_tests(stacked, declared(("heldout.kl", "dskd", "kd", 0.01)))


@pytest.mark.parametrize("items", [1, 2, 5])
def test_a_mean_of_few_items_is_shown_without_an_interval(items):
    tables = {"lexical": {"synonym": np.ones((2, items))}, "similarity": {"simlex": np.ones((2, items))}}
    found = means(tables, {"simlex": np.ones(items)}, PARAMS)
    kept = json.loads(json.dumps(found, allow_nan=False))
    assert kept["similarity"]["simlex"] == {"mean": 0, "low": None, "high": None}
    assert mean_cell(found["lexical"]["synonym"]).split() == ["1.000", "[-,", "-]"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_has_no_rank(value):
    scores, human = np.array([1.0, value, 2.0]), np.arange(3.0)
    for ask in (
        lambda: spearman(scores, human),
        lambda: spearman(human, scores),
        lambda: spearman_difference(human, scores, human, 20, 0),
    ):
        with pytest.raises(ValueError, match="scores must be finite"):
            ask()


def test_a_rank_correlation_that_hangs_on_the_seed_is_not_called_different():
    draw = np.random.default_rng(0)
    human = draw.normal(size=60)
    noise = draw.normal(size=(2, 3, 60))
    a, b = human + noise[0], human + noise[1] * np.array([[0.2], [1.0], [1.8]])  # far better, equal, far worse
    found = rank_difference(a, b, human, 400, 0)
    rhos = [np.mean([spearmanr(row, human).statistic for row in x]) for x in (a, b)]
    assert found["mean"] == pytest.approx(rhos[1] - rhos[0]) and found["p"] > 0.05
    assert found["low"] < 0 < found["high"]
    one = rank_difference(a[:1], b[:1], human, 400, 0)
    assert one == spearman_difference(a[:1], b[:1], human, 400, 0)
    assert rank_difference(a, a, human, 400, 0)["p"] == 1


def test_the_chance_of_seeds_is_added_to_that_of_items_in_quadrature():
    """The formula, written out: t of two degrees of freedom is 4.302653, z of 97.5 % is 1.959964."""
    draw = np.random.default_rng(2)
    human = draw.normal(size=60)
    a, b = (human + size * draw.normal(size=(3, 60)) for size in (1.0, 0.8))
    rho = [spearmanr(y, human).statistic - spearmanr(x, human).statistic for x, y in zip(a, b)]
    mean, of_seeds = sum(rho) / 3, 4.302653 * stdev(rho) / 3**0.5
    items = spearman_difference(a, b, human, 400, 5)
    half = (((items["high"] - items["low"]) / 2) ** 2 + of_seeds**2) ** 0.5
    assert of_seeds > 0.05 and items["high"] - items["low"] > 0.05  # both count
    p = 2 * NormalDist().cdf(-abs(mean) / (half / 1.959964))
    assert 0.02 < p < 0.9
    expected = {"mean": mean, "low": mean - half, "high": mean + half, "p": p}
    assert rank_difference(a, b, human, 400, 5) == pytest.approx(expected, rel=1e-5)
    assert rank_difference(b, a, human, 400, 5)["p"] == pytest.approx(p, rel=0.1)


# By part of speech and frequency


def test_groups_are_parts_of_speech_and_halves_by_frequency(columns):
    ids = [f"synonym:{i:02}" for i in range(ITEMS)]
    asked = {"synonym": {key: Asked("nv"[i % 2], i // 2) for i, key in enumerate(reversed(ids))}}
    asked["synonym"][ids[0]] = asked["synonym"][ids[0]]._replace(pos="a")
    stacked = {"teacher": stack([columns["teacher"]]), "kd": stack([columns["kd-0"], columns["kd-1"]])}
    found = by_group(stacked, {}, asked, PARAMS)["synonym"]
    assert {group: row["items"] for group, row in found.items()} == {"n": 12, "v": 11, "rare": 12, "common": 12}
    values = np.mean([columns[name]["lexical"]["synonym"] for name in ("kd-0", "kd-1")], axis=0)
    assert found["n"]["kd"]["mean"] == pytest.approx(values[1::2].mean())  # the last item is the first that is asked of
    assert found["common"]["kd"]["mean"] == pytest.approx(values[:12].mean())
    assert found["rare"]["kd"]["low"] <= found["rare"]["kd"]["mean"] <= found["rare"]["kd"]["high"]
    assert found["n"]["teacher"]["mean"] == pytest.approx(columns["teacher"]["lexical"]["synonym"][1::2].mean())


def test_groups_have_fewer_resamples_than_their_whole(columns, monkeypatch):
    monkeypatch.setattr(metrics_module, "RANKED", 20)
    assert PARAMS.evaluate.bootstrap > 20
    asked = {"synonym": {f"synonym:{i:02}": Asked("n", i) for i in range(ITEMS)}}
    row = by_group({"teacher": stack([columns["teacher"]])}, {}, asked, PARAMS)["synonym"]["n"]
    values = columns["teacher"]["lexical"]["synonym"]
    assert row["teacher"] == estimate(values, 20, PARAMS.evaluate.seed)
    assert row["teacher"] != estimate(values, PARAMS.evaluate.bootstrap, PARAMS.evaluate.seed)


def test_similarity_in_a_group_is_a_rank_correlation(columns):
    human = columns["human"]["similarity"]
    of = {f"{i:02}": Asked("n" if i < 12 else "v", 1) for i in range(WORDS)}
    stacked = {"teacher": stack([columns["teacher"]])}
    found = by_group(stacked, human, {"simlex": of, "wic_unknown": of}, PARAMS)
    assert list(found) == ["simlex"] and list(found["simlex"]) == ["n", "v", "rare"]
    rho = spearmanr(columns["teacher"]["similarity"]["simlex"][:12], human["simlex"][:12]).statistic
    assert found["simlex"]["n"]["teacher"]["mean"] == pytest.approx(rho)


def test_what_items_ask_about_is_read_from_items_benchmarks_and_wordnet(project, monkeypatch):
    folder = project / artifacts.BENCHMARKS
    rows = [
        {"id": "1", "word1": "fast", "word2": "slow", "pos": "adjective"},
        {"id": "2", "word1": "zq", "word2": "x", "pos": "verb"},
    ]
    artifacts.write_jsonl(folder / "antsynnet.test.jsonl", rows)
    remove(folder / "SHA256SUMS")
    summary = artifacts.read_json(folder / "summary.json")
    artifacts.write_json(folder / "summary.json", summary | {"antsynnet": {"available": True}})
    write_lexical(["teacher"], np.random.default_rng(0))
    asked = asked_words(wordnet_reader())
    assert asked["antonym_probe"] == asked["antonym_cosine"] and asked["antonym_probe"]["2"] == Asked("v", 0)
    assert asked["antonym_probe"]["1"].pos == "a" and asked["antonym_probe"].keys() == {"1", "2"}
    assert asked["synonym"]["synonym:00"].pos == "n" and "wic_states" not in asked


def test_scores_of_other_items_are_one_clear_line(columns):
    stacked = {"teacher": stack([columns["teacher"]])}
    with pytest.raises(UserError, match="have other items: run `dvc repro evaluate`"):
        by_group(stacked, {}, {"synonym": {"synonym:00": Asked("n", 1)}}, PARAMS)
