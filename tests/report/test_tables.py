import io
import json
import shutil
from contextlib import chdir

import pandas as pd
import pytest
import torch
from matplotlib.transforms import Bbox
from tiny.run import make_items, run_params, students, write_run
from whole.test_pipeline import ROOT

from dskd.benchmarks.catalogue import GOLD_LISTS
from dskd.errors import UserError
from dskd.explore.items import (
    disagreements,
    items_of_run,
    parting_items,
    show_disagreements,
    show_items,
    show_prompt,
)
from dskd.infra import artifacts
from dskd.report import figures
from dskd.report.metrics import summarise
from dskd.report.readme import cost_block, licences_block, results_block, update_docs
from dskd.report.study_tables import choosing_block, grid_block, half_block, headline_block, power_block
from dskd.report.tables import (
    benchmarks_table,
    commands_table,
    differences_table,
    models_table,
    setting,
)
from dskd.report.tables import tests_table as table_of_tests
from dskd.scores.store import baseline_table, choice_rows, item_rows, mean_scores, read_columns

THREE = ("kd", "kd_hidden", "dskd")
PARAMS = run_params(THREE, bootstrap=1000)  # with 200 no p is below .05 after a correction for nine tests


def made(folder, params, **options):
    """The metrics of an invented run, as they come back from their file."""
    with chdir(folder):
        write_run(params, **options)
        return json.loads(json.dumps(summarise(params, students(params))))


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return made(tmp_path_factory.mktemp("run"), PARAMS)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The metrics of a run that could get no benchmarks."""
    return made(tmp_path_factory.mktemp("bare"), PARAMS, benchmarks=False)


def cell(mean, low, high, p=0.5, p_holm=0.5, **more):
    return {"mean": mean, "low": low, "high": high, "p": p, "p_holm": p_holm, **more}


def cells(row):
    """Of a row of a Markdown table."""
    return [text.strip() for text in row.split("|")[1:-1]]


def plain(text):
    """With ordinary spaces, after checking that a line can break at none of them."""
    assert " " not in text
    return text.replace("\u00a0", " ")


# Cells


@pytest.mark.parametrize(
    "values, shown, signed",
    [
        ((0.5, 0.25, 0.75), ".500 [.250, .750]", "+.500 [+.250, +.750]"),
        ((-0.5, -1.25, 10.0), "-.500 [-1.250, 10.000]", "-.500 [-1.250, +10.000]"),
        ((-0.0004, -0.0006, 0.0), ".000 [-.001, .000]", "+.000 [-.001, +.000]"),
        ((0.9996, 0.9994, 1), "1.000 [.999, 1.000]", "+1.000 [+.999, +1.000]"),
    ],
)
def test_a_cell_has_three_digits_and_no_zero_before_the_point(values, shown, signed):
    found = models_table({"models": {"kd": {"lexical": {"synonym": cell(*values)}}}}, "lexical")
    assert plain(found.loc[0, "synonym"]) == shown
    found = differences_table({"differences": {"dskd - kd": {"lexical": {"synonym": cell(*values)}}}}, "lexical")
    assert plain(found.loc[0, "synonym"]) == signed


@pytest.mark.parametrize("p, p_holm, star", [(0.04, 0.049, " *"), (0.04, 0.05, ""), (0.01, 0.2, "")])
def test_a_star_stands_where_p_is_below_a_twentieth_after_correction(p, p_holm, star):
    of_pair = {"heldout": {"ce": cell(0.1, 0.05, 0.15, p, p_holm)}}
    found = differences_table({"differences": {"dskd - kd": of_pair}}, "heldout")
    assert plain(found.loc[0, "CE (nats/token)"]) == f"+.100 [+.050, +.150]{star}"


def test_measures_come_in_one_order_with_their_titles_and_models_without_them_in_no_row():
    squad = {"squad_v2_em": cell(0.1, 0, 1), "squad_v2": cell(0.2, 0, 1), "piqa": cell(0.3, 0, 1)}
    found = models_table({"models": {"teacher": {"chat": squad}, "cut": {"heldout": {}}}}, "chat")
    assert list(found) == ["model", "PIQA", "SQuAD v2 F1", "SQuAD v2 EM"]
    assert list(found["model"]) == ["teacher"]
    assert models_table({"models": {"teacher": {}}}, "chat").empty


def test_the_table_of_tests_has_a_row_a_pair_and_measure():
    full = cell(-0.1, -0.2, 0.05, 0.01, 0.03, p_items=0.02, smallest_effect=0.08)
    full |= {"p_equivalent": 0.25, "outcome": "different"}
    rho = {"simlex": cell(0.1, 0, 0.2)}
    pairs = {"differences": {"dskd - kd": {"heldout": {"kl": full, "ce": full}, "similarity": rho}}}
    found = table_of_tests(pairs, "heldout")
    assert list(found["measure"]) == ["CE (nats/token)", "KL to teacher (nats/token)"]
    assert dict(found.loc[0].iloc[2:]) == {
        "mean": "-0.1000",
        "95 % interval": "[-0.2000, +0.0500]",
        "p": "0.0100",
        "p (Holm)": "0.0300",
        "p, these seeds": "0.0200",
        "p, equivalent": "0.2500",
        "outcome": "different",
        "smallest detectable effect": "0.0800",
    }
    found = table_of_tests(pairs, "similarity")
    assert list(found.loc[0][["p, these seeds", "smallest detectable effect"]]) == ["", ""]
    assert table_of_tests(pairs, "chat").empty


def test_of_an_invented_run_the_two_effects_alone_are_starred(metrics):
    found = differences_table(metrics, "heldout").set_index("difference")
    stars = found.apply(lambda column: column.str.endswith("*"))
    assert list(stars.index) == ["kd_hidden - kd", "dskd - kd", "dskd - kd_hidden"]
    assert stars.loc["dskd - kd", ["CE (nats/token)", "KL to teacher (nats/token)"]].all()
    assert stars.loc["dskd - kd_hidden", ["CE (nats/token)", "KL to teacher (nats/token)"]].all()
    assert stars.sum().sum() == 4
    for table in ("lexical", "similarity", "cloze", "chat"):
        assert "*" not in differences_table(metrics, table).to_string()


# Benchmarks and setting


def benchmark(rows=100, faults=(0, 0), **protocols):
    counts = {"rows": {"test": rows, "train": 5}, "faults": dict(zip(("label_outside", "empty_choice"), faults))}
    return {"available": True, **counts, **protocols}


def test_a_benchmark_says_what_was_scored_cut_and_left_out():
    cloze, chat = {"items": 40, "asked": 50, "too_long": 1}, {"items": 30, "asked": 30, "too_long": 2}
    found = benchmarks_table(
        {
            "benchmarks": {
                "piqa": benchmark(40, (3, 1), cloze=cloze, chat=chat),
                "wic": benchmark(638, cloze=cloze | {"items": 50, "too_long": 0}),
                "simlex": benchmark(999),
                "mmlu": {"available": False, "how": "DSKD_MIRROR is not set"},
                "squad_v2": benchmark(200, no_chat="no chat template"),
            }
        }
    )
    assert found.to_dict("split")["data"] == [
        ["PIQA", "40 cloze, 30 chat", 3, 4, "50 were asked for; it has 40"],
        ["WiC", "50 cloze, 638 by states", 0, 0, ""],
        ["SimLex-999", "999 by states", "", 0, ""],
        ["MMLU", "not available", "", "", "DSKD_MIRROR is not set"],
        ["SQuAD 2.0", "not available", "", 0, "no chat template"],
    ]


def test_the_licences_say_what_a_gold_list_is_used_to():
    lines = licences_block(run_params().sources).splitlines()
    measured = [line.split("|")[1].strip() for line in lines if "measure the lexicon" in line]
    assert measured == ["PPDB constraints", "Roget antonyms"]
    assert sum("score it" in line for line in lines) == 10


def test_every_benchmark_of_models_is_listed_whether_or_not_it_could_be_had(metrics, bare):
    assert not set(GOLD_LISTS) & set(metrics["benchmarks"])
    for found in (benchmarks_table(metrics), benchmarks_table(bare)):
        assert len(found) == len(metrics["benchmarks"]) == 10
        missing = found.loc[found["items scored"] == "not available", "note"]
        assert len(missing) and missing.str.contains("DSKD_MIRROR").all()


def test_the_setting_names_the_weights_of_each_objective_and_its_targets_where_it_has_them(metrics):
    text = setting(PARAMS, metrics)
    assert "5,120 tokens, 0.5 epochs" in text and "| seeds | 0, 1 |" in text
    weights = PARAMS.objectives["dskd"]
    assert f"| `dskd` | ce {weights.ce:g}, kl {weights.kl:g}, sense {weights.sense:g}, margin" in text
    assert f"| `kd` | ce {PARAMS.objectives['kd'].ce:g}, kl {PARAMS.objectives['kd'].kl:g} |" in text
    other = weights.model_copy(update={"form": "span", "metric": "whitened"})
    named = setting(PARAMS.model_copy(update={"objectives": PARAMS.objectives | {"dskd": other}}), metrics)
    assert f"sense {weights.sense:g}, whitened distances, span form, targets lexicon" in named


# Commands and means


def test_every_model_has_the_command_that_makes_it(metrics):
    found = commands_table(metrics).set_index("model")["command"]
    assert list(found.index) == list(metrics["models"]) and found["kd"] == "dvc repro distill@kd-{0,1}"


def test_means_are_those_of_the_scores_without_peoples_judgements(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(PARAMS)
    columns, found = read_columns(), mean_scores(read_columns())
    assert "human" in columns and list(found) == [name for name in columns if name != "human"]
    assert found.loc[("heldout", "kl"), "kd-0"] == columns["kd-0"]["heldout"]["kl"].mean()
    assert baseline_table().loc["antonym", "longest"] == pytest.approx(0.25, abs=0.25)


# Where objectives part

RIGHT = {"kd": "11000000000", "dskd": "11101111110"}  # of eleven items, the last of another benchmark


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_cloze(models, items):
    """`items`: (benchmark, id) -> (answer, {model: (chosen, probability)})."""
    rows = []
    for (name, number), (answer, given) in items.items():
        for model in models:
            chosen, probability = given[model]
            asked = {"model": model, "protocol": "cloze", "benchmark": name, "id": number, "answer": answer}
            rows.append({**asked, "chosen": chosen, "acc": float(chosen == answer), "probability": probability})
    artifacts.write_jsonl(f"{artifacts.SCORES}/cloze.jsonl", rows)


def test_the_first_seeds_items_are_counted_by_who_has_them_right(folder):
    items = {}
    for i in range(11):
        kd, dskd = (int(RIGHT[name][i]) for name in ("kd", "dskd"))
        given = {"kd-3": (kd, 0.5), "dskd-3": (dskd, 0.5), "kd-1": (1, 0.5), "dskd-1": (0, 0.5)}
        items["wic" if i == 10 else "piqa", f"{i:02}"] = (1, given)
    write_cloze(["kd-3", "kd-1", "dskd-3", "dskd-1"], items)
    found = disagreements(run_params(seeds=[3, 1]))
    assert found.to_dict("split")["data"] == [["kd", "dskd", 2, 0, 7, 2, 2 / 2**7]]
    assert list(found)[2:6] == ["both right", "only the first", "only the second", "neither"]
    assert disagreements(run_params(["dskd", "kd"], [1])).loc[0, "only the first"] == 11
    assert disagreements(run_params(["kd"], [3])).empty


SHOWN = {  # kd's two seeds, then dskd's
    ("piqa", "a"): (1, [(0, 0.2), (0, 0.3), (1, 0.9), (1, 0.8)]),
    ("piqa", "b"): (0, [(0, 0.6), (0, 0.6), (0, 0.55), (1, 0.45)]),
    ("piqa", "c"): (0, [(0, 0.9), (1, 0.1), (1, 0.0), (0, 0.1)]),  # as many seeds right: does not part them
    ("wic", "d"): (1, [(1, 0.9), (1, 0.9), (0, 0.1), (0, 0.2)]),
}


@pytest.fixture
def parted(folder):
    models = ["kd-0", "kd-1", "dskd-0", "dskd-1"]
    items = {key: (answer, dict(zip(models, given), teacher=(answer, 0.5))) for key, (answer, given) in SHOWN.items()}
    write_cloze(["teacher", *models], items)
    piqa = [
        {"id": name, "question": f" How to {name}?\n", "choices": [f" {name} left", f"{name} right "], "answer": answer}
        for (of, name), (answer, _) in SHOWN.items()
        if of == "piqa"
    ]
    artifacts.write_jsonl(f"{artifacts.BENCHMARKS}/piqa.test.jsonl", piqa)
    wic = {"id": "d", "word": "bank", "sentence1": "By the bank.", "sentence2": "In a bank.", "answer": 1}
    artifacts.write_jsonl(f"{artifacts.BENCHMARKS}/wic.test.jsonl", [wic])


def test_items_that_part_two_objectives_are_shown_the_farthest_first(parted):
    found = show_disagreements(run_params(), "kd", "dskd")
    assert found.to_dict("split")["data"] == [
        ["WiC", "bank: By the bank. / In a bank.", "yes", "yes *", "yes *", "no", "-0.750"],
        ["PIQA", "How to a?", "a right", "a right *", "a left", "a right *", "+0.600"],
        ["PIQA", "How to b?", "b left", "b left *", "b left *", "b left * | b right", "-0.100"],
    ]
    assert list(found) == ["benchmark", "item", "answer", "teacher", "kd", "dskd", "p(answer), dskd - kd"]


def test_no_more_items_are_shown_than_asked_for_and_of_these_seeds_only(parted):
    assert list(show_disagreements(run_params(), "kd", "dskd", items=2)["benchmark"]) == ["WiC", "PIQA"]
    assert list(show_disagreements(run_params(seeds=[1]), "dskd", "kd")["answer"]) == [
        "yes",
        "a right",
        "b left",
        "c left",
    ]
    assert show_disagreements(run_params(), "kd", "kd").empty


def test_the_pairs_with_a_sense_loss_have_their_items_shown(parted):
    found = parting_items(run_params())
    assert list(found) == ["3 items that part kd and dskd"]
    assert found["3 items that part kd and dskd"].equals(show_disagreements(run_params(), "kd", "dskd"))
    assert parting_items(run_params(["kd"])) == {}


def test_where_nothing_was_scored_by_cloze_nothing_parts(folder):
    artifacts.write_jsonl(f"{artifacts.SCORES}/cloze.jsonl", [])
    assert disagreements(run_params()).empty
    assert show_disagreements(run_params(), "kd", "dskd").empty


# Items and prompts


def test_items_are_shown_with_what_each_model_chose_and_a_star_where_it_is_right(folder):
    items = make_items()
    likelihoods = {"kd": [[0, -1, -2, -3]] * len(items), "dskd": [[-3, -2, -1, 0]] * len(items)}
    artifacts.write_jsonl(f"{artifacts.SCORES}/items.jsonl", item_rows(items, {}))
    artifacts.write_jsonl(f"{artifacts.SCORES}/lexical.jsonl", choice_rows(likelihoods, items))
    found = show_items(["dskd", "kd"], per_task=4)
    assert found.head(4).to_dict("split")["data"] == [
        ["synonym 0 is", "one", "eleven", "one *"],
        ["synonym 1 is", "two", "eleven", "one"],
        ["synonym 2 is", "three", "eleven", "one"],
        ["synonym 3 is", "eleven", "eleven *", "one"],
    ]
    assert list(found["item"].str.split().str[0]) == ["synonym"] * 4 + ["antonym"] * 4 + ["definition"] * 4


def test_the_items_of_a_run_show_the_teacher_and_the_first_students(folder):
    items = make_items()
    likelihoods = {name: [[0, -1, -2, -3]] * len(items) for name in ("teacher", "kd-0", "dskd-0")}
    artifacts.write_jsonl(f"{artifacts.SCORES}/items.jsonl", item_rows(items, {}))
    artifacts.write_jsonl(f"{artifacts.SCORES}/lexical.jsonl", choice_rows(likelihoods, items))
    assert list(items_of_run(run_params(seeds=[0]))) == ["item", "answer", "teacher", "kd-0", "dskd-0"]
    assert list(items_of_run(run_params(seeds=[0]), students=1)) == ["item", "answer", "teacher", "kd-0"]


def test_a_prompt_is_shown_where_there_is_one(folder):
    assert show_prompt("arc_challenge") == "arc_challenge is not available"
    prompts = [{"prompt": "Which?"}, {"prompt": "Why?"}]
    artifacts.write_jsonl(f"{artifacts.BENCHMARKS}/arc_challenge.chat.jsonl", prompts)
    assert show_prompt("arc_challenge") == "Which?"


# Pictures


def drawn(shown):
    """The panels of figures with one each, after these were drawn, and no wider than a telephone."""
    for figure in shown:
        figure.savefig(io.BytesIO())
        assert figure.get_figwidth() == figures.PHONE and len(figure.axes) == 1
    return [figure.axes[0] for figure in shown]


@pytest.mark.parametrize("keys", [["kl"], ["ce", "kl", "agreement"]])
def test_intervals_have_a_panel_a_measure_and_a_line_and_mark_a_model(metrics, keys):
    panels = drawn(figures.intervals(metrics, [("heldout", key) for key in keys]))
    assert len(panels) == len(keys)
    for panel, key in zip(panels, keys):
        lines = panel.get_lines()
        assert len(lines) == 2 * 5
        for model, (line, mark) in zip(metrics["models"].values(), zip(lines[::2], lines[1::2])):
            value = model["heldout"][key]
            assert list(line.get_xdata()) == [value["low"], value["high"]] and mark.get_xdata()[0] == value["mean"]
        assert [label.get_text() for label in panel.get_yticklabels()] == list(metrics["models"])


def test_a_panel_of_choices_shows_chance_and_one_that_was_not_scored_is_left_out(metrics, bare):
    (panel,) = drawn(figures.intervals(metrics, [("lexical", "synonym")]))
    assert panel.get_lines()[-1].get_xdata()[0] == 0.25
    assert figures.intervals(bare, [("cloze", "all")]) == []


def test_differences_have_a_panel_a_measure_and_a_line_mark_and_band_a_pair(metrics):
    panels = drawn(figures.differences(metrics))
    assert [panel.get_xlabel() for panel in panels] == [
        "KL to teacher (nats/token)",
        "CE (nats/token)",
        "synonym (accuracy)",
        "antonym (accuracy)",
        "definition (accuracy)",
        "antonym or synonym, probe (accuracy)",
        "cloze: all items (accuracy)",
    ]
    for panel in panels:
        assert len(panel.get_lines()) == 2 * 3 + 1 and len(panel.collections) == 3


def test_a_mark_is_filled_where_p_is_below_a_twentieth_after_correction():
    cells = [cell(0.1, 0, 0.2, 0.01, p_holm, smallest_effect=0.1) for p_holm in (0.049, 0.05)]
    pairs = {"differences": {f"{i} - kd": {"heldout": {"kl": value}} for i, value in enumerate(cells)}}
    (panel,) = drawn(figures.differences(pairs))
    assert [mark.get_markerfacecolor() != "white" for mark in panel.get_lines()[1:-1:2]] == [True, False]


def test_differences_show_the_measures_that_there_are(bare):
    assert len(drawn(figures.differences(bare))) == 5
    assert len(drawn(figures.differences(bare, [("heldout", "ce"), ("chat", "piqa")]))) == 1
    assert figures.differences({"differences": {}}) == []


def test_names_on_a_map_do_not_cover_one_another():
    words = [
        (name, torch.tensor([[float(i), 0.0], [float(-i), 0.1]]))
        for i, name in enumerate("effective good bad well".split())
    ]
    figure = figures.sense_map({"words": words, "others": [("evil", torch.zeros(1, 2))]}, "map", (figures.PHONE, 3.6))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 5
    assert not any(Bbox.intersection(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_map_of_a_word_has_its_name_and_fits_on_a_telephone():
    figure = figures.word_map("good", {"good": [("good", torch.eye(3))], "antonyms": [("evil", torch.zeros(1, 3))]})
    assert figure.axes[0].get_title() == "“good”, its synonyms and antonyms"
    assert figure.get_figwidth() == figures.PHONE


# README.md and docs/


def test_the_costs_stand_in_the_order_of_the_pipeline():
    ran = ["sources", "distill-b-0", "distill-a-0", "report", "of another version", "targets-b", "prompts", "codes"]
    stages = {name: {"seconds": 1.0, "peak_memory_mb": place} for place, name in enumerate(ran)}
    machine = {"processor": "one", "cores": 2, "memory_gb": 8.0}
    block = cost_block({"stages": stages, "machine": machine, "versions": {"torch": "2"}, "artifacts_mb": {}})
    table = block[block.index("| stage") : block.index("The artifacts")]
    assert [cells(row)[0] for row in table.strip().splitlines()[2:]] == [
        *("sources", "prompts", "codes", "targets-b", "distill-b-0", "distill-a-0", "report", "of another version"),
        "all",
    ]


def test_the_results_block_has_means_differences_and_commands(metrics):
    block = results_block(metrics)
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) == 3 * (2 + 5) + 3 * (2 + 3) + 2 + 6  # heads and rules; models, pairs and lexical measures
    assert sum("`dvc repro distill@kd_hidden-{0,1}`" in row for row in rows) == 1
    assert "10,240 tokens" in block
    assert [cells(row)[1:] for row in rows if cells(row)[0] == "definition"] == [["24", ".250", ".250"]]
    assert [cells(row)[1:] for row in rows if cells(row)[0] == "WiC by states"] == [["30", ".500", "-"]]
    assert max(len(line) for line in block.splitlines() if not line.startswith("|")) <= 100


def test_the_block_of_a_run_without_benchmarks_shows_what_it_has(bare):
    assert "WiC" not in results_block(bare) and "definition" in results_block(bare)


OTHERS = {
    "method": ("power",),
    "results": ("results",),
    "costs": ("cost", "speed"),
    "study": ("choosing", "grid", "claim choosing", "claim", "longer choosing", "longer"),
    "earlier": ("half",),
    "REPRODUCING": ("run",),
    "trust": ("kills", "fuzz", "licences"),
    "lexicon": ("negations", "steps", "coverage", "sources"),
    "parameters": ("parameters",),
    "senses": ("dictionary", "agreement", "curves"),
    "codes": ("codes", "worth", "students", "guess"),
}
SPEEDS = """date,commit,machine,threads,versions,figure,shape,value,unit,reference_value,ratio,target,met
2026-01-01,a,"one, 2 cores, AVX2",2,torch 2,loss,1024 x 49152,50,tokens/s,20,2.5,2.5,True
2026-01-02,b,"one, 2 cores, AVX2",2,torch 2,loss,1024 x 49152,40,tokens/s,20,2.0,2.5,False
2026-01-02,b,"one, 2 cores, AVX2",2,torch 2,loss,2048 x 49152,60,tokens/s,20,3.0,2.5,True
2026-01-02,b,"one, 2 cores, AVX2",2,torch 2,memory,8192 x 49152,219,MB,,,256,True
2026-01-02,b,"two, 8 cores, AVX512",2,torch 2,loss,1024 x 49152,90,tokens/s,30,3.0,2.5,True
"""


GRID = """measure,objective,mean,against,difference,low,high,p,outcome
kl,kd,1.4,,,,,,
kl,dskd,1.41,kd,0.01,0.005,0.015,0.001,different
kl,dskd_mean,1.38,kd,-0.02,-0.03,-0.01,0.001,different
kl,dskd,1.41,dskd_mean,0.03,0.02,0.04,0.001,different
synonym trained p,kd,0.3,,,,,,
synonym trained p,dskd,0.32,kd,0.02,0.01,0.03,0.024,different
synonym trained p,dskd_mean,0.31,kd,0.01,-0.01,0.03,0.3,undecided
synonym trained p,dskd,0.32,dskd_mean,0.01,0.0,0.02,0.04,different
"""
CLAIM = """measure,objective,mean,against,difference,low,high,p,outcome
kl,kd,4.1,,,,,,
kl,dskd,4.0,kd,-0.1,-0.3,0.2,0.4,undecided
kl,dskd_mean,3.998,kd,-0.102,-0.3,0.2,0.4,undecided
kl,dskd,4.0,dskd_mean,0.002,-0.001,0.005,0.3,equivalent within 0.01
"""
LONGER = "\n".join(line for line in CLAIM.splitlines() if "dskd_mean" not in line)
KILLS = """stage,killed,done_again,seconds_lost,same_hashes
harvest,all,0,10.2,True
harvest,all,0,12.4,True
"""


TRIALS = tuple(
    f"docs/trials/{name}.csv"
    for name in ("dictionaries", "codes_students", "codes_context", "grid", "claim", "claim_long", "study")
)


def write_readme(root, metrics):
    (root / artifacts.SPEEDS).parent.mkdir(parents=True)
    (root / artifacts.SPEEDS).write_text(SPEEDS)
    blocks = {
        n: f"<!-- {n}: python -m dskd readme -->\nstale\n<!-- end of {n} -->\n"
        for n in ("headline", *(name for names in OTHERS.values() for name in names))
    }
    (root / "README.md").write_text("# Before\n" + blocks["headline"] + "after\n")
    (root / "docs").mkdir()
    for page, names in OTHERS.items():
        (root / f"docs/{page}.md").write_text("between\n".join(blocks[n] for n in names))
    for committed in ("docs/lexicon.csv", *TRIALS, artifacts.POWER, artifacts.QUALITY, artifacts.SENSES_REPORT):
        (root / committed).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / committed, root / committed)
    (root / "docs/fuzz.csv").write_text("reader,cases,passed\nJSON,10000,True\n")
    (root / "docs/killing.csv").write_text(KILLS)
    shutil.copy(ROOT / "params.yaml", root)
    (root / "dvc.lock").write_text("stages: {senses: {cmd: x, outs: [{path: artifacts/senses, md5: 1a2b}]}}")
    artifacts.write_json(root / artifacts.METRICS, metrics)
    (root / "docs/trials/grid.test.csv").write_text(GRID)
    (root / "docs/trials/claim.test.csv").write_text(CLAIM)
    (root / "docs/trials/claim_long.test.csv").write_text(LONGER)
    (root / "docs/trials/codes.csv").write_text("code,bytes,codebook_bytes,kl,block_0\nsenses,2,6e7,2.2,2.2\n")
    cost = {"stages": {"senses": {"seconds": 61.5, "peak_memory_mb": 900}}, "versions": {"torch": "2"}}
    machine = {"processor": "one", "cores": 2, "memory_gb": 8.0, "fast_bfloat16": True, "system": "Linux"}
    made = {**cost, "machine": machine, "artifacts_mb": {"senses": 1200}, "commit": "abc"}
    artifacts.write_json(root / artifacts.PROVENANCE, made)


def test_the_table_of_a_grid_has_each_trial_and_the_best():
    kl = {"kd_kl1.4_rate0.002": 1.5, "kd_kl2.8_rate0.002": 1.4, "kd_kl2.8_rate0.004": 1.6}
    kl |= {
        "dskd_mean_sense0.1_rate0.002": 1.3,
        "dskd_mean_sense8_rate0.002": 1.45,
        "dskd_mean_sense0.1_rate0.004": 1.25,
    }
    rows = [(measure, name, value) for name, value in kl.items() for measure in ("kl", "ce")]
    found = pd.DataFrame(rows, columns=["measure", "objective", "mean"])
    found.loc[found["measure"] == "ce", "mean"] *= -1
    kd, mean = (cells(line) for line in choosing_block(found).splitlines()[2:])
    assert kd == ["`kd`", "KL", "1.4: 1.500, 2.8: 1.400", "2.8: 1.600", "2.8 at 0.002"]
    assert mean == ["`dskd_mean`", "the sense loss", "0.1: 1.300, 8: 1.450", "0.1: 1.250", "0.1 at 0.004"]


def test_small_rates_and_weights_of_a_grid_are_read_as_they_are_written():
    kl = {"kd_kl1e-05_rate5e-05": 1.5, "kd_kl0.1_rate5e-05": 1.6}
    found = pd.DataFrame([("kl", *row) for row in kl.items()], columns=["measure", "objective", "mean"])
    title, _, row = choosing_block(found).splitlines()
    assert "KL at rate 5e-05, by weight" in title and cells(row)[-1] == "1e-05 at 5e-05"


def test_a_grid_is_compared_measure_by_measure_and_the_primary_one_is_not_corrected():
    means, differences = (
        [cells(line.replace("\u00a0", " ")) for line in table.splitlines() if "---" not in line]
        for table in grid_block(pd.read_csv(io.StringIO(GRID))).split("\n\n")
    )
    assert means == [
        ["measure", "kd", "dskd", "dskd_mean"],
        ["KL to teacher, articles", "1.400", "1.410", "1.380"],
        ["synonym, trained, p(answer)", ".300", ".320", ".310"],
    ]
    assert differences == [  # the smaller of two p values is doubled, and is still below .05
        ["measure", "dskd - kd", "dskd - dskd_mean"],
        ["KL to teacher, articles", "+.010 [+.005, +.015]", "+.030 [+.020, +.040]"],
        ["synonym, trained, p(answer)", "+.020 [+.010, +.030] *", "+.010 [+.000, +.020] *"],
    ]


def test_the_headline_says_what_each_test_decided():
    grid, claim, longer = (pd.read_csv(io.StringIO(table)) for table in (GRID, CLAIM, LONGER))
    rows = [cells(line.replace("\u00a0", " ")) for line in headline_block(grid, claim).splitlines()]
    assert [row[0].rpartition("(")[2] for row in rows[2:]] == ["`kd`)", "`dskd_mean`)"]
    assert [row[1:] for row in rows[2:]] == [
        ["+.010 [+.005, +.015] different", "-.100 [-.300, +.200] undecided"],
        ["+.030 [+.020, +.040] different", "+.002 [-.001, +.005] equivalent within 0.01"],
    ]
    assert [cells(line)[-1] for line in headline_block(grid, longer).splitlines()][3] == "-"  # not compared there


def test_levels_and_powers_are_those_of_the_true_differences_that_they_are_named_after():
    rows = [
        (pair, 3, 30, 0.01, truth, 0.1 * place + shift, 0.5 - 0.1 * place, 0.02)
        for pair, shift in (("a - b", 0.0), ("c - b", 0.02))
        for place, truth in enumerate((0.0, 0.005, 0.01, 0.02))
    ]
    columns = ["difference", "seeds", "documents", "margin", "truth", "different", "equivalent", "half_width"]
    (row,) = (cells(line) for line in power_block(pd.DataFrame(rows, columns=columns)).splitlines()[2:])
    assert row == ["3", "30", ".010", ".300", ".210", ".310", ".500", ".020"]


def test_the_readme_is_made_anew_between_its_marks_and_a_second_time_is_the_same(metrics, tmp_path):
    write_readme(tmp_path, metrics)
    assert set(update_docs(tmp_path)) == {"README.md", *(f"docs/{page}.md" for page in OTHERS)}
    front, results, costs, study = (
        (tmp_path / page).read_text() for page in ("README.md", "docs/results.md", "docs/costs.md", "docs/study.md")
    )
    assert front.startswith("# Before\n") and front.endswith("after\n") and "stale" not in front
    grid, claim, longer = (pd.read_csv(io.StringIO(table)) for table in (GRID, CLAIM, LONGER))
    assert headline_block(grid, longer) in front
    assert all(grid_block(table) in study for table in (grid, claim, longer))
    assert results_block(metrics) in results
    assert half_block(pd.read_csv(ROOT / artifacts.HALF)) in (tmp_path / "docs/earlier.md").read_text()
    assert ["senses", "1:01", "900"] in [cells(row) for row in costs.splitlines()] and "1,200 MB" in costs
    rows = [cells(line) for line in costs.splitlines() if "tokens/s" in line]
    assert [row[1:6] for row in rows] == [  # the last of each figure and shape, machine by machine
        ["90 tokens/s", "30", "3.0", "2.5", "yes"],
        ["40 tokens/s", "20", "2.0", "2.5", "no"],
        ["60 tokens/s", "20", "3.0", "2.5", "yes"],
    ]
    assert costs.index("two, 8 cores, AVX512; torch 2:") < costs.index("one, 2 cores, AVX2; torch 2:")
    assert "| memory   | 219 MB" in costs and costs.count("between") == 1 and study.count("between") == 5
    hashes, licences = ((tmp_path / "docs" / name).read_text() for name in ("REPRODUCING.md", "trust.md"))
    assert "| `artifacts/senses` | `1a2b`" in hashes and "1:01" in hashes
    assert "1 readers, 10,000 cases" in licences and "| harvest | all      | 2 " in licences
    assert "CC BY-SA 3.0" in licences
    lexicon = (tmp_path / "docs/lexicon.md").read_text()
    assert (
        "| with derivations | 212, test" in lexicon and "indirect antonyms" in lexicon and "share of types" in lexicon
    )
    assert "AntSynNET train beyond WordNet:" in lexicon
    assert not any("stale" in (tmp_path / f"docs/{page}.md").read_text() for page in OTHERS)
    assert update_docs(tmp_path) == []


def test_a_readme_without_marks_and_a_missing_study_are_errors_that_say_so(metrics, tmp_path):
    write_readme(tmp_path, metrics)
    whole = (tmp_path / "docs/study.md").read_text()
    (tmp_path / "docs/study.md").write_text(whole.replace("<!-- end of grid -->", ""))
    with pytest.raises(UserError, match="end of grid"):
        update_docs(tmp_path)
    for made, command in (
        ("docs/trials/claim_long.csv", "make grid GRID=claim_long"),
        ("docs/trials/claim_long.test.csv", "make grid GRID=claim_long"),
        ("docs/trials/claim.csv", "make grid GRID=claim"),
        ("docs/trials/claim.test.csv", "make grid GRID=claim"),
        ("docs/trials/grid.test.csv", "make grid GRID=grid"),
    ):
        (tmp_path / made).unlink()
        with pytest.raises(UserError, match=command):
            update_docs(tmp_path)
