"""A run from which no word is held out has no lexical tasks; the rest is reported as ever."""

from tiny.project import STAGES, run

from dskd.infra import artifacts
from dskd.report.readme import results_block
from dskd.scores.store import baseline_table


def test_a_run_that_holds_no_word_out_is_reported(project, monkeypatch):
    monkeypatch.setitem(STAGES, "report", [])
    assert run("evaluate")[0] == 0 and baseline_table().empty
    code, text = run("report")
    assert code == 0, text
    metrics = artifacts.read_json(artifacts.METRICS)
    assert metrics["lexical_items"] == metrics["baselines"] == {} and "lexical" not in metrics["models"]["teacher"]
    assert metrics["models"]["dskd"]["heldout"]["kl"]["mean"] > 0
    assert "| dskd " in results_block(metrics)
