"""The sentences and tables of the report, from metrics made by hand, and the picture of the pipeline."""

from itertools import pairwise

import pytest
import yaml
from whole.test_pipeline import ROOT

from dskd.explore.pipeline_graph import draw, edges
from dskd.params import LaunchParams, load_params
from dskd.report import findings
from dskd.report.plan import default_shape
from dskd.report.stage_costs import run_stages
from dskd.report.tables import measure_name


def cell(mean, p_holm=0.5, **more):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "p": p_holm, "p_holm": p_holm, **more}


def metrics(seeds=1, **pairs):
    return {
        "models": {"teacher": {"lexical": {"synonym": cell(0.3), "antonym": cell(0.8)}}},
        "seeds": {f"{name}-{seed}": {} for name in ("kd", "dskd") for seed in range(seeds)},
        "differences": {name.replace("_minus_", " - "): of for name, of in pairs.items()},
        "benchmarks": {"piqa": {"available": False, "how": "no"}, "wic": {"available": True}},
    }


PAIR = {"heldout": {"ce": cell(-0.2, 0.01), "kl": cell(0.2, 0.01)}, "cloze": {"all": cell(0.2, 0.01), "wic": cell(9.0)}}


def test_a_smaller_loss_and_a_larger_share_are_better_and_no_star_is_no_difference():
    said = findings.answer(metrics(seeds=3, dskd_minus_kd=PAIR, dskd_minus_ce=PAIR)).replace("\u00a0", " ")
    assert said.count("compared with") == 1  # only the pair that the question is about
    said_of_controls = findings.answer(metrics(dskd_minus_kd=PAIR, dskd_minus_dskd_random=PAIR, dskd_minus_ce=PAIR))
    assert said_of_controls.count("compared with") == 2
    assert "`dskd` compared with `dskd_random`" in said_of_controls
    assert "better on CE (nats/token) -.200 [-.300, -.100], cloze: all items +.200 [+.100, +.300]; worse on KL" in said
    assert "No difference is shown on 1 other measure." in said
    assert said.count("Holm's correction") == 1 and "one seed" not in said
    assert "better on nothing; worse on nothing" in findings.answer(
        metrics(dskd_minus_kd={"heldout": {"ce": cell(1.0)}})
    )


def test_other_objectives_and_one_objective_have_an_answer_too():
    said = findings.answer(metrics(ce_minus_kd=PAIR))
    assert (
        said.startswith("This run declared no primary test")
        and "\n\n**`ce` compared with `kd`" in said
        and "This run has one seed." in said
    )
    assert findings.answer(metrics()) == "This run trained one objective, so there is nothing to compare."


def test_primary_tests_come_first_and_all_else_is_called_secondary():
    test = {"mean": -0.002, "low": -0.005, "high": 0.001, "p_holm": 0.4, "p_equivalent_holm": 0.002}
    test |= {"measure": "heldout.kl", "student": "dskd", "control": "kd", "margin": 0.01, "seeds": 10}
    found = metrics(dskd_minus_kd=PAIR) | {"primary": [test | {"outcome": "equivalent within 0.01"}]}
    said = findings.answer(found)
    assert said.startswith("The one primary test") and "before the run" not in said  # which nothing here can know
    assert said.index("is secondary") < said.index("**`dskd` compared")
    row = next(line for line in said.splitlines() if line.startswith("| Held-out text: KL"))
    shown = [text.strip() for text in row.strip("|").split("|")]
    assert shown[1:3] == ["dskd - kd", "0.01"] and shown[4:] == ["0.4000", "0.0020", "10", "**equivalent within 0.01**"]
    assert "Holm" not in said.split("secondary")[0]
    assert "Holm" in findings.primary(found | {"primary": 2 * found["primary"]})


def test_a_text_of_few_documents_is_named():
    found = metrics() | {"heldout_documents": {"heldout": 3, "glosses": 40}}
    assert "Held-out text: fewer than 10 documents" in findings.shortfalls(found)
    assert "documents" not in findings.shortfalls(metrics() | {"heldout_documents": {"heldout": 10}})


def test_words_of_few_documents_are_named():
    found = metrics() | {"in_context_documents": {"synonym_trained": 9, "antonym_word": 10}}
    said = findings.shortfalls(found)
    assert said.count("fewer than 10 documents") == 1
    assert f"- {measure_name('in_context', 'synonym_trained')}: their words stand in fewer than 10" in said


def test_too_few_resamples_for_so_many_tests_are_named():
    """The least p is 2 / (resamples + 1), times the tests of its table."""
    pair = {"lexical": {str(number): cell(0.1) for number in range(26)}, "similarity": {"simlex": cell(0.1)}}
    found = metrics(dskd_minus_kd=pair) | {"resamples": 1000}
    assert "- Lexical measures (accuracy): so many tests that after Holm's correction no" in findings.shortfalls(found)
    assert "so many tests" not in findings.shortfalls(found | {"resamples": 1100})


def test_a_measure_by_groups_has_a_row_for_each_group_and_a_column_for_each_model():
    groups = {"synonym": {"v": {"items": 36, "teacher": cell(0.42)}, "rare": {"items": 150, "teacher": cell(0.5)}}}
    found = findings.group_table(metrics() | {"groups": groups}, "synonym").map(
        lambda text: text.replace("\u00a0", " ")
    )
    assert found["words"].tolist() == ["verbs (36 items)", "rare words (150 items)"]
    assert found["teacher"].tolist() == [".420 [.320, .520]", ".500 [.400, .600]"]
    (table,) = findings.tables_of_groups(metrics() | {"groups": groups})
    assert "<summary>By words: synonym</summary>" in table.data and findings.tables_of_groups({"groups": {}}) == []


def test_what_a_run_cannot_tell_is_named():
    pair = {"heldout": {"kl": cell(0.1, smallest_effect=0.02)}}
    said = findings.shortfalls(metrics(dskd_minus_kd=pair))
    assert "reaches down to chance" in said and "from another: synonym." in said
    assert "Not scored, because they were not available: PIQA." in said
    assert "one seed" in said and "KL to teacher (nats/token) 0.020." in said
    assert "one seed" not in findings.shortfalls(metrics(seeds=2))


def test_controls_are_the_runs_own_or_the_studys(monkeypatch):
    monkeypatch.chdir(ROOT)
    own = metrics(dskd_minus_kd=PAIR, dskd_minus_ce=PAIR, dskd_minus_dskd_random=PAIR, ce_minus_kd=PAIR)
    assert list(findings.controls(own)[0]["differences"]) == ["dskd - kd", "dskd - dskd_random"]
    shown, origin = findings.controls(metrics(dskd_minus_kd=PAIR))
    assert len(shown["differences"]) == 10 and "75,264 training tokens for each student and 5 seeds" in origin
    sentence, *pictures = findings.show_controls(own)
    assert sentence.data == "These differences are from this run." and len(pictures) == 3


def test_costs_are_those_of_the_plan(monkeypatch):
    monkeypatch.chdir(ROOT)
    table = findings.cost_table(load_params()).set_index("stage")
    stages = run_stages(load_params(), default_shape(ROOT), 4)
    assert list(table.index) == [stage.name for stage in stages]
    launched = load_params().model_copy(update={"launch": LaunchParams(processes=8)})
    assert findings.cost_table(launched).equals(findings.cost_table(load_params()))  # the page is the same bytes
    assert table.loc["harvest", "tokens"] == "1,334,016" and table.loc["evaluate", "memory (GB)"] == "–"


def test_a_table_is_headed_by_its_first_column_and_can_be_folded():
    import pandas as pd

    table = pd.DataFrame({"model": ["<kd>"], "CE": [1]})
    assert "<th>&lt;kd&gt;</th>" in findings.table_html(table)
    assert findings.table_html(pd.DataFrame(), "a & b") == "<p>a &amp; b: this run has none.</p>"
    folded = findings.table_html(table, "a & b")
    assert folded.startswith("<details><summary>a &amp; b</summary><table") and "<th>model</th>" in folded
    assert [made.data for made in findings.folded({"a & b": table, "none": pd.DataFrame()})] == [folded]
    assert findings.shown(table).data == findings.table_html(table)


def test_tables_of_what_was_not_scored_are_left_out_and_all_but_the_first_are_folded():
    run = metrics(dskd_minus_kd={"cloze": PAIR["cloze"]}, dskd_minus_ce={"chat": {"piqa": cell(0.1)}})
    run["models"]["teacher"]["cloze"] = {"wic": cell(0.5)}
    words, benchmarks = (made.data for made in findings.tables_of_means(run))
    assert words.startswith("<h3>Lexical measures (accuracy)</h3><table") and ".800" in words
    assert benchmarks.startswith("<details><summary>Benchmarks, cloze: accuracy of the most probable choice</summary>")
    cloze, chat = (made.data for made in findings.tables_of_differences(run))
    assert cloze.startswith("<details><summary>Differences: Benchmarks, cloze") and "+9.000" in cloze
    assert chat.startswith("<details><summary>Differences: Benchmarks, the paper")
    (tests,) = findings.tables_of_tests(run)  # none of the chat protocol
    assert tests.data.startswith("<details><summary>Tests: Benchmarks, cloze") and "+9.0000" in tests.data


STAGES = """
a: {outs: [one]}
b: {deps: [one/part], outs: [{two/x: {cache: false}}]}
c: {deps: [one, two], metrics: [{three: {cache: false}}]}
d: {deps: [three, one, code.py]}
e: {deps: [onerous]}
"""


def test_an_arrow_is_drawn_where_no_other_path_leads():
    assert edges(yaml.safe_load(STAGES)) == [("a", "b"), ("b", "c"), ("c", "d")]


def test_the_picture_of_the_pipeline_names_every_stage_inside_its_frame():
    figure = draw(ROOT / "dvc.yaml")
    figure.draw_without_rendering()
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    (axis,) = figure.axes
    assert {text.get_text() for text in axis.texts} >= set(stages)
    boxes = [text.get_window_extent() for text in axis.texts]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    for first, second in pairwise(boxes):
        assert first.y0 >= second.y1 - 1, "texts overlap"


@pytest.mark.parametrize("stage", ["targets", "quality", "report"])
def test_every_stage_is_reached(stage):
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stage in {second for _, second in edges(stages)}
