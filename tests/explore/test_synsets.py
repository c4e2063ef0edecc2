"""Which synset fits a sense: by votes of contexts, and by a probe of its place."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny.wordnet import write_wordnet

from dskd.explore.synsets import (
    Candidate,
    Evidence,
    candidates,
    checked_fits,
    fit_synset,
    gather_evidence,
    gloss_votes,
    read_words,
)
from dskd.lexicon.readers.wordnet import open_wordnet, prepare

SHORE = Candidate("bank.n.01", "n", 17, "sloping land", 0)
MONEY = Candidate("bank.n.02", "n", 14, "it lends", 1)
TILT = Candidate("bank.v.01", "v", 38, "tip laterally", 0)


def evidence(votes=None, fields=None, found=(SHORE, MONEY, TILT)) -> Evidence:
    shares = np.full(45, 0.2 / 44)
    for field, share in (fields or {}).items():
        shares[field] = share
    return Evidence({"bank": list(found)}, {7: shares}, {7: votes or {}})


def test_without_votes_the_probe_decides():
    fit = fit_synset(evidence(fields={38: 0.8}), "bank", 7)
    assert (fit.synset, fit.pos, fit.votes, fit.definition) == ("bank.v.01", "v", 0, "tip laterally")
    assert fit_synset(evidence(fields={14: 0.8}), "bank", 7).synset == "bank.n.02"


def test_where_the_probe_is_even_the_commoner_synset_has_more():
    assert fit_synset(evidence(found=[SHORE, MONEY]), "bank", 7).share == pytest.approx(2 / 3)


def test_votes_count_more_than_the_probe():
    fit = fit_synset(evidence({"bank.n.02": 3, "other.n.01": 9}, {17: 0.9}), "bank", 7)
    assert fit.synset == "bank.n.02" and fit.votes == 3
    assert 3 / 4 < fit.share < 1  # of three votes and the one that the probe shares out


def test_all_shares_are_one_and_a_word_that_is_not_there_has_no_synset():
    alone = fit_synset(evidence(found=[MONEY]), "bank", 7)
    assert alone.share == 1.0 and alone.votes == 0
    assert fit_synset(evidence(found=[]), "bank", 7) == ("", 0.0, 0, "", "")


def test_a_check_does_not_use_the_context_that_it_asks_about():
    single = checked_fits(evidence({"bank.n.02": 1}, {17: 0.9}), {"bank": range(7, 8)})
    assert single["right"].tolist() == [False] and single["chance"].tolist() == [1 / 3]
    double = checked_fits(evidence({"bank.n.02": 2, "other.n.01": 5}, {17: 0.9}), {"bank": range(7, 8)})
    assert double["right"].tolist() == [True, True] and double["share"].between(0.5, 1).all()
    assert not len(checked_fits(evidence({"bank.n.02": 2}, found=[MONEY]), {"bank": range(7, 8)}))


def test_only_contexts_in_glosses_vote():
    rows = [(3, "gloss:bank.n.01"), (3, "gloss:bank.n.01"), (3, "wiki:Bank"), (4, "gloss:a.b.n.02"), (5, "")]
    assert gloss_votes(pd.DataFrame(rows, columns=["sense", "document"])) == {3: {"bank.n.01": 2}, 4: {"a.b.n.02": 1}}


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet")
    write_wordnet(folder / "dict")
    prepare(folder / "dict", folder / "nltk_data")
    return read_words(open_wordnet(folder / "nltk_data"))


def test_candidates_are_nltks_synsets(wordnet):
    for word in ("fast", "bank", "FAST"):
        found = candidates(wordnet, word)
        assert {each.name for each in found} == {synset.name() for synset in wordnet.reader.synsets(word.lower())}
        assert all(each.definition and each.rank >= 0 for each in found)
    assert candidates(wordnet, "zq") == []


def test_the_probe_learns_fields_from_words_that_are_in_one(wordnet, monkeypatch):
    draw = np.random.default_rng(0)
    fields = {f"{kind}{i}": field for kind, field in (("a", 5), ("b", 38)) for i in range(20)}
    found = {w: [Candidate(f"{w}.n.01", "n", f, "", 0)] for w, f in fields.items()}
    found["bank"] = [MONEY._replace(field=5), TILT]
    monkeypatch.setattr("dskd.explore.synsets.candidates", lambda _, word: found[word])
    known = {word: range(i, i + 1) for i, word in enumerate(fields)}
    places = draw.normal(size=(42, 6)) * 0.3
    places[:20, 0] += 3
    places[40, 0] += 3
    rows = pd.DataFrame({"sense": [], "document": pd.Series([], dtype=str)})
    known["bank"] = range(40, 42)
    made = gather_evidence(torch.from_numpy(places), {"bank": range(40, 42)}, known, rows, wordnet)
    assert [fit_synset(made, "bank", row).synset for row in (40, 41)] == ["bank.n.02", "bank.v.01"]
    assert made.probed[40].sum() == pytest.approx(1)
