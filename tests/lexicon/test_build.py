import copy
import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tiny.models import dictionary
from tiny.project import run
from tiny.wordnet import lexicon, train_metaspace_tokenizer, train_tokenizer, write_wordnet
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from dskd.errors import UserError
from dskd.infra.hashes import sha256_tree
from dskd.lexicon import build
from dskd.lexicon.build import Files, Statements, read_statements, settle_pairs
from dskd.lexicon.negation import Polarity
from dskd.lexicon.readers import wordnet
from dskd.lexicon.readers.morphology import Derivation
from dskd.lexicon.readers.wordnet import glosses, open_wordnet, prepare, split_gloss
from dskd.lexicon.readers.wordnet_indirect import indirect_antonyms
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, heldout_pairs, heldout_words, is_heldout, merge
from dskd.lexicon.store import antonyms, load_lexicon, save_lexicon, synonyms
from dskd.lexicon.table import build_table, check_directions, check_sources, conflicts_table, negations_table
from dskd.lexicon.tokens import check_tokens, head_forms, inflected_forms, word_tokens
from dskd.senses.store import compose_span

WHOLE = ["fast", "rapid", "slow", "bank", "go", "travel", "stay", "quickly"]  # words that become one token


def built(settings, relations, tokenizer, inflections=None):
    """Table and summary of plain relations."""
    settled = settle_pairs(Statements(list(relations), [], {}, set()), settings)
    return build_table(settings, settled, tokenizer, inflections or {})


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    root = tmp_path_factory.mktemp("wordnet")
    prepare(write_wordnet(root / "raw"), root / "nltk")
    return open_wordnet(root / "nltk")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(["", *WHOLE])] * 50)


def random_relations(count=400, seed=0):
    draw = random.Random(seed)
    words = [f"{a}{b}{c}" for a in "bdf" for b in "aeo" for c in "nst"]
    return [
        Relation(
            draw.choice(words), draw.choice(words), draw.choice([1, -1]), draw.choice("xy"), f"s{draw.randrange(9)}"
        )
        for _ in range(count)
    ]


# --- WordNet ---------------------------------------------------------------------------------------------------------


def test_prepare_strips_carriage_returns_and_keeps_the_licence(reader, tmp_path):
    prepare(write_wordnet(tmp_path / "raw"), tmp_path / "nltk")
    folder = tmp_path / "nltk" / "corpora" / "wordnet"
    assert (folder / "LICENSE").read_bytes() == b"free\n"
    assert not any(b"\r" in file.read_bytes() for file in folder.iterdir())


def test_prepare_names_a_missing_file(tmp_path):
    folder = write_wordnet(tmp_path / "raw")
    (folder / "data.verb").unlink()
    with pytest.raises(UserError, match=r"lacks WordNet's data\.verb"):
        prepare(folder, tmp_path / "nltk")
    assert not (tmp_path / "nltk" / "corpora" / "wordnet").exists()


def test_open_wordnet_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="dvc repro sources"):
        open_wordnet(tmp_path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_files_may_be_links_into_a_cache(tmp_path, link):
    prepare(write_wordnet(tmp_path / "raw"), tmp_path / "nltk")
    folder = tmp_path / "nltk/corpora/wordnet"
    shutil.move(folder, tmp_path / "cache")
    folder.mkdir()
    for file in (tmp_path / "cache").iterdir():
        link(file, folder / file.name)
    linked = open_wordnet(tmp_path / "nltk")
    assert ("fast", "slow", ANTONYM) in {relation[:3] for relation in wordnet.relations(linked)}
    assert linked.synsets("bank") and linked.morphy("banks") == "bank" and "fast" in linked.all_lemma_names()
    for file in linked._data_file_map.values():  # NLTK leaves them open
        file.close()


def test_fast_parser_agrees_with_nltk(reader):
    ours = list(wordnet.read_synsets(reader).values())
    theirs = {synset.name(): synset for synset in reader.all_eng_synsets()}
    assert [s.name for s in ours] and {s.name for s in ours} == set(theirs)
    for synset in ours:
        other = theirs[synset.name]
        assert [lemma.replace(" ", "_") for lemma in synset.lemmas] == other.lemma_names()
        assert list(synset.examples) == other.examples() or synset.name == "institution.n.01"  # NLTK takes its quote
        opposed = {(synset.lemmas[p.source - 1], p.offset) for p in wordnet.pointers(synset) if p.symbol == "!"}
        assert opposed == {(m.name(), a.synset().offset()) for m in other.lemmas() for a in m.antonyms()}


@pytest.mark.parametrize("part", ["noun", "verb", "adj"])
def test_a_database_that_was_cut_is_an_error(tmp_path, part):
    raw = write_wordnet(tmp_path / "raw")
    data = raw / f"data.{part}"
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:-1]))
    prepare(raw, tmp_path / "nltk")
    with pytest.raises(UserError, match=rf"data\.{part} lacks a sense of .*not whole"):
        wordnet.read_synsets(open_wordnet(tmp_path / "nltk"))
    whole = write_wordnet(tmp_path / "other") / f"data.{part}"
    data.write_text(whole.read_text()[: whole.read_text().rindex("|")])
    prepare(raw, tmp_path / "nltk2")
    with pytest.raises(UserError, match=rf"data\.{part} has a line that is not WordNet's"):
        wordnet.read_synsets(open_wordnet(tmp_path / "nltk2"))


def test_relations_of_wordnet(reader):
    found = {(r.head, r.tail, r.relation, r.sense) for r in wordnet.relations(reader)}
    assert ("bank", "banking company", SYNONYM, "bank.n.01") in found
    assert ("fast", "slow", ANTONYM, "fast.a.01") in found and ("slow", "fast", ANTONYM, "slow.a.01") in found
    assert ("slow", "unhurried", SYNONYM, "slow.a.01") in found  # the marker "(p)" is no part of the word
    assert not any(head == tail for head, tail, *_ in found)  # "bank" and "Bank" are one word
    assert not any({head, tail} == {"unhurried", "fast"} for head, tail, *_ in found)  # antonyms are of lemmas


def test_glosses_keep_quotes_of_a_definition_and_drop_authors(reader):
    found = {gloss.name: gloss for gloss in glosses(reader)}
    assert found["bank.n.02"].definition == "sloping land"
    assert found["bank.n.02"].examples == ("they pulled the canoe up on the bank",)
    assert found["institution.n.01"].definition == 'an organisation (as in the "third sector")'
    assert found["institution.n.01"].examples == ()


@pytest.mark.parametrize(
    ("gloss", "definition", "examples"),
    [
        ('(of land)"a wide bank"', "(of land)", ("a wide bank",)),
        ('by the water."a wide bank"', "by the water.", ("a wide bank",)),
        ('"a wide bank"; "a steep one"', "", ("a wide bank", "a steep one")),
    ],
)
def test_a_definition_ends_where_the_first_example_s_quotation_mark_stands(gloss, definition, examples):
    assert split_gloss(gloss) == (definition, examples)


def test_a_pointer_between_whole_synsets_opposes_no_words(tmp_path):
    """The number 0 stands for the synset, and its last lemma is not meant."""
    synsets = [
        ("hot", "a", ["hot", "blazing"], [("!", "cold", 0, 0)], "warm"),
        ("cold", "a", ["cold", "freezing"], [("!", "hot", 0, 0), ("!", "hot", 1, 1)], "not warm"),
    ]
    prepare(write_wordnet(tmp_path / "raw", synsets), tmp_path / "nltk")
    found = [tuple(r[:2]) for r in wordnet.relations(open_wordnet(tmp_path / "nltk")) if r.relation == ANTONYM]
    assert found == [("cold", "hot")]
    # What the synsets say together is indirect.
    opposed = {frozenset(r[:2]) for r in indirect_antonyms(open_wordnet(tmp_path / "nltk"))}
    assert opposed == {frozenset(p) for p in (("hot", "freezing"), ("blazing", "cold"), ("blazing", "freezing"))}


# --- merging and holding out -----------------------------------------------------------------------------------------


def test_merge_is_symmetric_without_self_relations_or_duplicates():
    pairs = merge([*random_relations(), Relation("same", "same", SYNONYM, "x", "s")])
    rows = {(p.head, p.tail, p.relation, p.source, p.senses) for p in pairs}
    assert len(rows) == len({row[:4] for row in rows}) == len(pairs)
    assert all((tail, head, *rest) in rows for head, tail, *rest in rows)
    assert all(head != tail for head, tail, *_ in rows)


def test_merge_joins_senses_and_flips_only_where_all_do():
    a = Relation("hot", "cold", ANTONYM, "x", "s2", flipped=True)
    once, both = merge([a])[0], merge([a, a._replace(sense="s1", flipped=False)])[0]
    assert once.flipped and not both.flipped
    assert both.senses == ("s1", "s2")


def test_heldout_words_are_a_seeded_share_independent_of_the_others():
    words = [f"word{i}" for i in range(5000)]
    held = heldout_words(words, 3, 0.1)
    assert 400 < len(held) < 600
    assert held == {word for word in words if is_heldout(word, 3, 0.1)}
    assert heldout_words(words[:100], 3, 0.1) == held & set(words[:100])
    assert heldout_words(words, 3, 0.05) < held < heldout_words(words, 3, 0.2)
    assert heldout_words(words, 4, 0.1) != held
    assert heldout_words(words, 3, 0.0) == set() and heldout_words(words, 3, 1.0) == set(words)


# --- the table -------------------------------------------------------------------------------------------------------


def test_heldout_pairs_are_a_seeded_share_whatever_the_order_of_their_words():
    pairs = [(f"w{i}", f"v{i % 7}") for i in range(2000)]
    held = heldout_pairs(pairs, 3, 0.1)
    assert 150 < len(held) < 250 and all(a < b for a, b in held)
    assert heldout_pairs([pair[::-1] for pair in pairs], 3, 0.1) == held
    assert heldout_pairs(pairs, 3, 0.05) < held < heldout_pairs(pairs, 3, 0.2)
    assert heldout_pairs(pairs, 4, 0.1) != held and heldout_pairs(pairs, 3, 0.0) == set()


def test_a_heldout_pair_has_no_relation_and_nothing_is_derived_from_it(monkeypatch):
    """happy = glad is held out; so its negation gives no pair either, nor does unhappy = glad one of happy and glad."""
    relations = [
        Relation("unhappy", "sad", SYNONYM, "x", "1"),
        Relation("happy", "glad", SYNONYM, "x", "2"),
        Relation("unhappy", "glad", ANTONYM, "x", "3"),
        Relation("happy", "content", SYNONYM, "x", "4"),
    ]
    statements = Statements(relations, [], {"unhappy": [("happy", "un-")]}, {"happy", "unhappy"})
    monkeypatch.setattr(build, "negations", lambda *_: {"unhappy": Polarity("happy", -1, ("un-",))})

    def pairs(held):
        monkeypatch.setattr(build, "heldout_pairs", lambda found, *_: held & {tuple(sorted(pair)) for pair in found})
        return {(a, b, r) for a, b, r, *_ in settle_pairs(statements, lexicon(heldout_pairs=0.1)).pairs if a < b}

    assert ("happy", "sad", ANTONYM) in pairs(set()) and ("glad", "happy", SYNONYM) in pairs(set())
    without = pairs({("glad", "happy")})
    assert not [pair for pair in without if pair[:2] == ("glad", "happy")]
    assert without == {pair for pair in pairs(set()) if pair[:2] != ("glad", "happy")}


def test_heldout_words_are_in_no_row(tokenizer):
    relations = random_relations()
    params = lexicon(seed=1, heldout_share=0.3, max_span=9)
    words = {r.head for r in relations} | {r.tail for r in relations}
    held = heldout_words(words, 1, 0.3)
    one_token = train_tokenizer([" ".join(["", *sorted(words)])] * 50, 600)
    table, summary = built(params, relations, one_token)
    assert held and summary["heldout_words"] == len(held)
    assert not held & (set(table["head"]) | set(table["tail"]))
    without = sum(not held & {p.head, p.tail} for p in merge(relations))
    assert without == sum(sum(kinds.values()) for kinds in summary["pairs"].values())


def test_heads_are_one_token_and_tails_short(reader, tokenizer):
    table, summary = built(lexicon(max_span=3), wordnet.relations(reader), tokenizer)
    tokens = word_tokens(tokenizer, {*table["head"], *table["tail"]})
    assert set(table["head"]) <= set(WHOLE) - {"go"}  # two letters
    assert all(tokens[head] == (token,) for head, token in zip(table["head"], table["head_token"]))
    assert all(tokens[tail] == span and len(span) <= 3 for tail, span in zip(table["tail"], table["tail_tokens"]))
    assert summary["dropped_head_not_a_token"] > 0 and summary["dropped_tail_too_long"] > 0
    total = sum(sum(kinds.values()) for kinds in summary["pairs_after_the_vote"].values())
    assert total == len(table) + summary["dropped_head_not_a_token"] + summary["dropped_tail_too_long"]
    assert table["relation"].dtype == "int8" and table["head_token"].dtype == "int32"


@pytest.mark.parametrize("column", ["head_token", "tail_tokens"])
def test_a_table_of_other_tokens_is_another_tokenizer_s(reader, tokenizer, column):
    table, _ = built(lexicon(), wordnet.relations(reader), tokenizer)
    check_tokens(table, tokenizer)
    other = train_tokenizer([" ".join(["", *WHOLE[4:]])] * 50)
    for wrong, of in ((table, other), (table.assign(**{column: table[column].to_list()[::-1]}), tokenizer)):
        with pytest.raises(UserError, match="made with another tokenizer, which has other tokens for '"):
            check_tokens(wrong, of)


def test_word_tokens_are_those_inside_a_text(tokenizer):
    for word, span in word_tokens(tokenizer, ["bank", "banking company", "é"]).items():
        inside = tokenizer(f"the {word}", add_special_tokens=False)["input_ids"]
        assert tuple(inside[-len(span) :]) == span and tokenizer.decode(list(span)) == f" {word}"


def test_a_word_that_the_tokenizer_does_not_know_has_no_tokens_and_is_no_head():
    plain = Tokenizer(models.WordLevel({"[UNK]": 0, "bank": 1, "river": 2}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]")
    found = word_tokens(tokenizer, ["bank", "river bank", "zebra", "river zebra"])
    assert found == {"bank": (1,), "river bank": (2, 1), "river zebra": (), "zebra": ()}
    assert head_forms(tokenizer, ["bank", "zebra", "lion"], 3, {}) == {"bank": [("bank", 1)]}
    assert not len(compose_span(dictionary({1: [[0.0, 1.0]]}), found["zebra"]))
    untold = PreTrainedTokenizerFast(tokenizer_object=plain)  # the inner tokenizer alone knows of [UNK]
    assert word_tokens(untold, ["bank", "river bank", "zebra", "river zebra"]) == found


def test_a_word_of_which_letters_are_left_out_has_no_tokens():
    bare = Tokenizer(models.BPE({",": 0, "▁": 1, "c": 2, "a": 3, "f": 4}, []))
    bare.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    found = word_tokens(PreTrainedTokenizerFast(tokenizer_object=bare), ["caf", "café", "caf fac"])
    assert found == {"caf": (1, 2, 3, 4), "caf fac": (1, 2, 3, 4, 1, 4, 3, 2), "café": ()}


def test_word_tokens_have_one_space_where_the_tokenizer_adds_its_own():
    tokenizer = train_metaspace_tokenizer([", bank rapid"] * 50)
    tokens = word_tokens(tokenizer, ["bank", "rapid bank"])
    assert tokenizer.convert_ids_to_tokens(list(tokens["bank"])) == ["▁bank"]
    assert tokenizer.convert_ids_to_tokens(list(tokens["rapid bank"])) == ["▁rapid", "▁bank"]


def test_a_head_is_reached_in_lower_case_and_with_a_capital():
    for train in (train_tokenizer, train_metaspace_tokenizer):
        tokenizer = train([" ".join([",", "bank", "Bank", "rapid"])] * 50)
        table, summary = built(lexicon(), [Relation("bank", "rapid", SYNONYM, "x", "s")], tokenizer)
        heads = {(row.head, row.form): row.head_token for row in table.itertuples()}
        tokens = word_tokens(tokenizer, ["bank", "Bank", "rapid", "Rapid"])
        assert len(tokens["Rapid"]) > 1  # no head
        assert {form for _, form in heads} == {"bank", "Bank", "rapid"} and summary["tokens_of_heads"] == 3
        assert all(tokens[form] == (token,) for (_, form), token in heads.items())
        assert synonyms(table)[tokens["Bank"][0]] == synonyms(table)[tokens["bank"][0]] == [tokens["rapid"]]


def test_inflected_forms_have_the_relations_of_their_word_unless_they_are_words(reader):
    tokenizer = train_tokenizer([" bank banks Banks travels quickly"] * 50)
    words = {"bank", "travel", "quickly"}
    found = inflected_forms(tokenizer, reader, words)
    assert found == {"bank": ["banks"], "travel": ["travels"]}
    assert inflected_forms(tokenizer, reader, words | {"banks"}) == {"travel": ["travels"]}
    table, _ = built(lexicon(), [Relation("bank", "quickly", SYNONYM, "x", "s")], tokenizer, found)
    assert set(table.query("head == 'bank'")["form"]) == {"bank", "Bank", "banks", "Banks"}


# --- from statements to pairs ----------------------------------------------------------------------------------------

UN = {"unhappy": [Derivation("happy", "un-", "J", "J")]}


def test_a_negation_is_undone_and_reported():
    statements = Statements([Relation("sad", "unhappy", SYNONYM, "x", "s")], [], UN, {"happy"})
    settled = settle_pairs(statements, lexicon(negations=["un-"]))
    assert {pair[:3] for pair in settled.pairs if pair.flipped} == {
        ("happy", "sad", ANTONYM),
        ("sad", "happy", ANTONYM),
    }
    report = negations_table(settled)
    assert report.values.tolist() == [["unhappy", "happy", "un-", 1, "happy <> sad"]]
    assert settle_pairs(statements, lexicon()).negations == {}


def test_nothing_is_derived_from_a_held_out_word():
    relations = [Relation(f"sad{i}", "unhappy", SYNONYM, "x", "s") for i in range(40)]
    statements = Statements(relations, [], UN, {"happy"})
    told = 0
    for seed in range(40):
        settings = lexicon(negations=["un-"], heldout_share=0.5, seed=seed)
        found = settle_pairs(statements, settings)
        held = {word for word in ("happy", "unhappy") if is_heldout(word, seed, 0.5)}
        assert not {word for pair in found.pairs for word in pair[:2] if is_heldout(word, seed, 0.5)}
        assert any(pair.flipped for pair in found.pairs) == (not held)
        told += not held
    assert 0 < told < 40


def test_sources_vote_with_their_weights_and_negations_with_less():
    both = [Relation("hot", "warm", SYNONYM, "x", "s"), Relation("hot", "warm", ANTONYM, "y", "t")]
    statements = Statements(both, [], {}, set())
    settled = settle_pairs(statements, lexicon())
    assert {pair.source for pair in settled.pairs} == {"x"} and len(settled.merged) == 4
    assert conflicts_table(settled)["verdict"].tolist() == ["synonym"]
    other = settle_pairs(statements, lexicon(weights={"x": 1.0, "y": 2.0}))
    assert {pair.source for pair in other.pairs} == {"y"}


def test_indirect_antonyms_are_a_source_of_their_own(reader):
    files = Files(reader)
    assert read_statements(files, lexicon()).indirect == []
    settings = lexicon(indirect_antonyms=True, weights={"wordnet": 1.0, "wordnet_indirect": 1.0})
    settled = settle_pairs(read_statements(files, settings), settings)
    found = {(pair.head, pair.tail) for pair in settled.pairs if pair.source == "wordnet_indirect"}
    assert ("rapid", "slow") in found and ("fast", "slow") not in found


def test_every_source_that_is_there_is_read(reader, tmp_path):
    (tmp_path / "list").write_text("en_fast en_brisk\nde_schnell de_rasch\n")
    (tmp_path / "other").write_text("fast\tsluggish\n")
    (tmp_path / "thesaurus").write_text("UTF-8\nfast|1\n(adj)|brisk|slow (antonym)\n")
    entry = {"word": "fast", "lang_code": "en", "pos": "adj", "senses": [{"synonyms": [{"word": "swift"}]}]}
    (tmp_path / "entries").write_text(json.dumps(entry) + "\n")
    lists = {"x.synonyms": (tmp_path / "list", "en"), "x.antonyms": (tmp_path / "other", None)}
    files = Files(reader, wiktionary=tmp_path / "entries", mythes=tmp_path / "thesaurus", lists=lists)
    found = {relation[:4] for relation in read_statements(files, lexicon()).relations}
    assert found >= {
        ("fast", "brisk", SYNONYM, "x"),
        ("fast", "sluggish", ANTONYM, "x"),
        ("fast", "brisk", SYNONYM, "mythes"),
        ("fast", "slow", ANTONYM, "mythes"),
        ("fast", "swift", SYNONYM, "wiktionary"),
        ("fast", "slow", ANTONYM, "wordnet"),
    }
    assert not any("rasch" in relation for relation in found)


@pytest.mark.parametrize(
    ("content", "field", "says"),
    [
        ("UTF-8\nfast|1\n(adj)|brisk (similar term)\n", "mythes", "mythes has no term without a mark or (antonym)"),
        ('{"word": "fast", "lang_code": "en", "pos": "adj", "senses": []}\n', "wiktionary", "0 relations in 1 English"),
        (
            '{"word": "fast", "lang_code": "en", "pos": "adj", "senses": [{"form_of": [{"word": "x"}]}]}\n',
            "wiktionary",
            "left out: 1 senses that are forms",
        ),
    ],
)
def test_a_source_that_is_asked_for_and_says_nothing_is_an_error(reader, tmp_path, content, field, says):
    (tmp_path / field).write_text(content)
    with pytest.raises(UserError) as error:
        read_statements(Files(reader)._replace(**{field: tmp_path / field}), lexicon())
    assert says in str(error.value) and "give another source, or leave it out" in str(error.value)


def test_a_wordnet_that_says_nothing_is_an_error(tmp_path):
    prepare(write_wordnet(tmp_path / "raw", [("quick", "a", ["fast"], [], "moving")]), tmp_path / "nltk")
    alone = open_wordnet(tmp_path / "nltk")
    with pytest.raises(UserError, match=r"sources\.wordnet has no lemmas of one synset and no antonyms"):
        read_statements(Files(alone), lexicon())
    prepare(write_wordnet(tmp_path / "raw2", [("quick", "a", ["fast", "rapid"], [], "moving")]), tmp_path / "nltk2")
    with pytest.raises(UserError, match=r"sources\.wordnet has no lexicon\.indirect_antonyms"):
        read_statements(Files(open_wordnet(tmp_path / "nltk2")), lexicon(indirect_antonyms=True))


@pytest.mark.parametrize(
    ("relations", "changes", "says"),
    [
        (
            [("nought", "nothing", SYNONYM)],
            {},
            "0 have a held-out word, 0 were outvoted, and 1 have no word",
        ),
        ([("rapid", "bank", SYNONYM)], {"heldout_share": 0.5}, "1 have a held-out word, 0 were outvoted"),
        (
            [("fast", "slow", SYNONYM)],
            {},
            "x (synonyms) reaches the lexicon: of 1 pairs, the first 'fast'",
        ),
        ([("fast", "slow", SYNONYM)], {}, "1 were outvoted"),
        ([("go", "stay", ANTONYM), ("fast", "rapid", SYNONYM)], {"min_letters": 5}, "x (antonyms) reaches"),
    ],
)
def test_a_list_of_which_nothing_fits_is_an_error(tokenizer, relations, changes, says):
    of_wordnet = [("fast", "slow", ANTONYM), ("rapid", "quickly", SYNONYM), ("go", "travel", SYNONYM)]
    stated = [Relation(*pair, "wordnet", "s") for pair in of_wordnet]
    stated += [Relation(*pair, "x", "t") for pair in relations]
    settings = next(
        lexicon(**changes, seed=seed)
        for seed in range(100)
        if (is_heldout("bank", seed, 0.5), is_heldout("fast", seed, 0.5)) == (True, False)
        and not is_heldout("rapid", seed, 0.5) and not is_heldout("slow", seed, 0.5)
        and not is_heldout("quickly", seed, 0.5)
    )  # fmt: skip
    statements = Statements(stated, [], {}, set())
    settled = settle_pairs(statements, settings)
    table, _ = build_table(settings, settled, tokenizer, {})
    with pytest.raises(UserError) as error:
        check_sources(statements, settled, table)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("relation", [SYNONYM, ANTONYM])
def test_a_list_given_the_wrong_way_round_is_refused_where_wordnet_knows_enough_of_it(relation):
    of_wordnet = [Relation(f"a{i}", f"b{i}", -relation, "wordnet", "s") for i in range(40)]
    both = [Relation(f"a{i}", f"b{i}", relation, "wordnet", "s") for i in range(20, 40)]
    listed = [Relation(f"b{i}", f"a{i}", relation, "x", "t") for i in range(40)]  # of which 20 are one thing only
    kinds = {SYNONYM: "synonyms", ANTONYM: "antonyms"}
    with pytest.raises(UserError) as error:
        check_directions([*of_wordnet, *both, *listed])
    assert str(error.value) == (
        f"sources: x is given as {kinds[relation]}, and 20 of its 20 pairs that WordNet knows are "
        f"{kinds[-relation]}: is it a list of {kinds[-relation]}?"
    )
    check_directions([*of_wordnet[1:], *both, *listed])  # too few
    check_directions([*of_wordnet, *both, *(stated._replace(relation=-relation) for stated in listed)])
    check_directions([*of_wordnet, *both, *(stated._replace(source="mythes") for stated in listed)])


def test_the_stage_ends_where_nothing_of_a_list_fits(project):
    words = project / "words.txt"
    words.write_text("hot.a.01 warm.a.01\nbig large\n")
    values = yaml.safe_load(Path("params.yaml").read_text())
    source = {"source": "file:words.txt", "sha256": sha256_tree(words), "licence": "none"}
    values["sources"]["lists"] = {"mine": {"synonyms": source}}
    values["lexicon"]["weights"]["mine"] = 4.2
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert run("sources")[0] == 0
    before = Path("artifacts/lexicon.parquet").read_bytes()
    code, text = run("lexicon")
    assert code == 1 and "nothing of mine (synonyms) reaches the lexicon: of 2 pairs, the first 'hot.a.01'" in text
    assert Path("artifacts/lexicon.parquet").read_bytes() == before


def test_lists_of_which_a_pair_fits_and_derivations_of_which_one_counts_are_no_error(tokenizer):
    stated = [Relation("fast", "rapid", SYNONYM, "x", "s"), Relation("fast", "slow", ANTONYM, "x", "s")]
    stated += [Relation("nought", "nothing", SYNONYM, "x", "s"), Relation("bank", "unhappy", SYNONYM, "y", "s")]
    for derivations in (UN, {"unbank": [Derivation("bank", "un-", "N", "N")]}):
        statements = Statements(stated, [], derivations, {"happy", "bank"})
        settled = settle_pairs(statements, lexicon(negations=["un-"]))
        table, _ = build_table(lexicon(), settled, tokenizer, {})
        if derivations is UN:
            check_sources(statements, settled, table)
        else:
            with pytest.raises(UserError, match=r"sources\.morphology has 1 words, and none .* is a negation"):
                check_sources(statements, settled, table)


def test_no_head_is_an_error(reader):
    with pytest.raises(UserError, match="one token of this tokenizer"):
        built(lexicon(), wordnet.relations(reader), train_tokenizer(["xyz"], 258))


def test_equal_relations_give_equal_bytes_in_any_order(tmp_path, tokenizer):
    relations = random_relations()
    one_token = train_tokenizer([" ".join(["", *sorted({r.head for r in relations})])] * 50, 600)
    for name, seed in (("a", 1), ("b", 2)):
        shuffled = relations[:]
        random.Random(seed).shuffle(shuffled)
        turned = [r if i % 2 else r._replace(head=r.tail, tail=r.head) for i, r in enumerate(shuffled)]
        table, _ = built(lexicon(), turned, one_token)
        save_lexicon(tmp_path / name, table.sample(frac=1, random_state=seed))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(load_lexicon(tmp_path / "a"), table)


def test_load_refuses_what_is_no_lexicon(tmp_path):
    (tmp_path / "text").write_text("no table")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other")
    for name in ("text", "other"):
        with pytest.raises(UserError, match="is not a lexicon"):
            load_lexicon(tmp_path / name)


def test_synonyms_come_by_support_then_alphabet(tokenizer):
    relations = [
        Relation("fast", "slow", ANTONYM, "x", "s1"),
        Relation("fast", "stay", SYNONYM, "x", "s1"),
        Relation("fast", "bank", SYNONYM, "x", "s1"),
        Relation("fast", "rapid", SYNONYM, "x", "s1"),
        Relation("fast", "rapid", SYNONYM, "y", "s2"),  # a second source counts with the first
    ]
    table, _ = built(lexicon(), relations, tokenizer)
    tokens = word_tokens(tokenizer, WHOLE)
    head = tokens["fast"][0]
    assert synonyms(table)[head] == [tokens[word] for word in ("rapid", "bank", "stay")]
    assert antonyms(table) == {head: [tokens["slow"]], tokens["slow"][0]: [tokens["fast"]]}
    assert all(max(Counter(spans).values()) == 1 for spans in synonyms(table).values())


# --- what a toy does not have ----------------------------------------------------------------------------------------

MANY = [f"word{letter}" for letter in "abcdefghijklmnopq"]  # 17 lemmas: WordNet counts them as 11
RICH = [
    ("many", "n", MANY, [("@", "few", 0, 0)] * 11 + [("!", "few", 17, 2)], "a great number"),  # 12 pointers: 012
    ("few", "n", ["Scarcity", "Fewness"], [("!", "many", 2, 17)], "a small number"),
    ("dull", "a", ["Wet"], [], "of no spirit"),
    ("wet", "a", ["wet", "Soaked"], [("!", "dry", 1, 2), ("&", "humid", 0, 0)], "full of water"),
    ("dry", "a", ["arid", "Dry"], [("!", "wet", 2, 1), ("&", "parched", 0, 0)], "without water"),
    ("humid", "s", ["humid", "Muggy"], [("&", "wet", 0, 0)], "of wet air"),
    ("dank", "s", ["Wet", "humid"], [("&", "wet", 0, 0)], "of walls"),
    ("parched", "s", ["parched"], [("&", "dry", 0, 0)], "made dry by heat"),
    ("green", "a", ["humid"], [], "of plants"),
]


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    root = tmp_path_factory.mktemp("rich")
    prepare(write_wordnet(root / "raw", RICH), root / "nltk")
    return open_wordnet(root / "nltk")


def test_many_lemmas_second_ones_capitals_and_satellites_are_read_as_they_are_written(rich):
    found = {synset.name: synset for synset in wordnet.read_synsets(rich).values()}
    names = "worda.n.01 scarcity.n.01 wet.a.01 wet.a.02 arid.a.01 humid.s.01 wet.s.01 parched.s.01 humid.a.03"
    assert list(found) == names.split()  # NLTK says the same
    assert list(found["worda.n.01"].lemmas) == MANY and found["arid.a.01"].lemmas == ("arid", "Dry")
    links = list(wordnet.pointers(found["worda.n.01"]))
    assert len(links) == 12 and (links[-1].symbol, links[-1].source, links[-1].target) == ("!", 17, 2)
    to_satellite = found["wet.a.02"]._replace(links="& 00000042 s 0000 ! 00000007 a 0c11")
    assert list(wordnet.pointers(to_satellite)) == [("&", "a", 42, 0, 0), ("!", "a", 7, 12, 17)]


def test_relations_are_of_the_lemmas_that_pointers_count_in_lower_case(rich):
    found = {relation[:3] for relation in wordnet.relations(rich)}
    opposed = {("wordq", "fewness"), ("fewness", "wordq"), ("wet", "dry"), ("dry", "wet")}
    assert {pair[:2] for pair in found if pair[2] == ANTONYM} == opposed
    alike = [(a, b) for i, a in enumerate(MANY) for b in MANY[i + 1 :]]
    alike += [("fewness", "scarcity"), ("soaked", "wet"), ("arid", "dry"), ("humid", "muggy"), ("humid", "wet")]
    assert {pair[:2] for pair in found if pair[2] == SYNONYM} == set(alike)


def test_indirect_antonyms_are_those_of_the_heads_that_an_adjective_is_similar_to(rich):
    found = {(relation.head, relation.tail, relation.sense) for relation in indirect_antonyms(rich)}
    head, satellites = "arid.a.01", [("humid.s.01", "humid muggy"), ("wet.s.01", "humid")]
    expected = {
        (word, tail, f"{name} {head}")
        for name, words in satellites
        for word in words.split()
        for tail in ("arid", "dry")
    }
    expected |= {("wet", "arid", f"wet.s.01 {head}")}  # wet and dry are opposed as they are
    expected |= {("parched", word, "parched.s.01 wet.a.02") for word in ("soaked", "wet")}
    expected |= {(*pair, f"wet.a.02 {head}") for pair in (("soaked", "arid"), ("soaked", "dry"), ("wet", "arid"))}
    assert found == expected


def test_no_indirect_antonym_of_a_held_out_word_is_kept_and_none_is_flipped():
    indirect = [Relation("sad", word, ANTONYM, "wordnet_indirect", "s") for word in ("unhappy", "merry", "glad")]
    settings = lexicon(negations=["un-"], heldout_share=0.3, weights={"wordnet_indirect": 1.0, "x": 1.0})
    seen = set()
    for seed in range(30):
        chosen = settings.model_copy(update={"seed": seed})
        stated = [Relation("sad", "unhappy", SYNONYM, "x", "s")]
        pairs = settle_pairs(Statements(stated, indirect, UN, {"happy"}), chosen).merged
        found = {tail for head, tail, *_, source, _, _ in pairs if head == "sad" and source == "wordnet_indirect"}
        held = {word for word in ("sad", "unhappy", "merry", "glad") if is_heldout(word, seed, 0.3)}
        assert found == (set() if "sad" in held else {"unhappy", "merry", "glad"} - held)
        assert not any(pair.flipped for pair in pairs if pair.source == "wordnet_indirect")
        seen |= {(word, word in held) for word in ("sad", "merry")}
    assert len(seen) == 4


@pytest.mark.parametrize("weight, says", [(0.25, "antonym"), (0.5, "dropped"), (1.0, "synonym")])
def test_what_a_negation_was_undone_for_weighs_as_the_settings_say(weight, says):
    stated = [Relation("sad", "unhappy", ANTONYM, "x", "s")]  # so sad is happy, by a weight of 2 times this one
    indirect = [Relation("sad", "happy", ANTONYM, "y", "t")]
    settings = lexicon(negations=["un-"], negation_weight=weight, weights={"x": 2.0, "y": 1.0})
    settled = settle_pairs(Statements(stated, indirect, UN, {"happy"}), settings)
    (conflict,) = settled.conflicts
    assert (conflict.synonym_votes, conflict.antonym_votes, conflict.verdict) == (2 * weight, 1.0, says)


@pytest.mark.parametrize("skipped, words", [([], {"swift", "yare"}), (["archaic"], {"swift"})])
def test_wiktionary_s_words_with_the_tags_that_the_settings_name_are_left_out(reader, tmp_path, skipped, words):
    links = [{"word": "swift"}, {"word": "yare", "tags": ["archaic"]}]
    entry = {"word": "fast", "lang_code": "en", "pos": "adj", "senses": [{"synonyms": links}]}
    (tmp_path / "entries").write_text(json.dumps(entry) + "\n")
    files = Files(reader, wiktionary=tmp_path / "entries")
    found = read_statements(files, lexicon(skipped_tags=skipped)).relations
    assert {relation.tail for relation in found if relation.source == "wiktionary"} == words


def test_word_tokens_have_no_special_tokens_whatever_the_tokenizer_puts_around_a_text(tokenizer):
    plain = word_tokens(tokenizer, WHOLE)
    around = copy.deepcopy(tokenizer)
    around.backend_tokenizer.post_processor = TemplateProcessing(
        "<|im_end|> $A <|im_end|>", special_tokens=[("<|im_end|>", 1)]
    )
    assert around("bank")["input_ids"][0] == around("bank")["input_ids"][-1] == 1
    assert word_tokens(around, WHOLE) == plain


def test_a_tokenizer_that_joins_any_word_with_the_comma_before_it_is_refused():
    def joining(texts, **options):
        ids = {",": [5], ", bank": [5, 7], ", rapid": [9]}
        return {"input_ids": ids[texts] if isinstance(texts, str) else [ids[text] for text in texts]}

    joining.unk_token_id = None
    assert word_tokens(joining, ["bank"]) == {"bank": (7,)}
    with pytest.raises(UserError, match="joins a word with the comma"):
        word_tokens(joining, ["bank", "rapid"])


def test_inflected_forms_are_letters_in_lower_case():
    class Tokens(list):
        def batch_decode(self, rows):
            return [self[token] for (token,) in rows]

    class Morphy:
        def morphy(self, form, pos):
            return {"banks": "bank", "Banks": "bank", "bank's": "bank", "ran": "run", "better": "good"}.get(form)

    tokens = Tokens([" banks", " Banks", " bank's", " ran", "banks", " better", " x"])
    assert inflected_forms(tokens, Morphy(), {"bank", "run", "good", "better"}) == {"bank": ["banks"], "run": ["ran"]}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_held_out_word_has_no_relations_as_the_form_of_another(reader, share):
    """ "banks" is an inflected form of "bank", and a word that may be held out by itself."""
    tokenizer = train_tokenizer([" bank banks Banks travels quickly"] * 50)
    words = {"bank", "travel", "quickly"}
    for seed in range(8):
        found = inflected_forms(tokenizer, reader, words, lexicon(seed=seed, heldout_share=share))
        expected = {"bank": "banks", "travel": "travels"}
        assert found == {word: [form] for word, form in expected.items() if not is_heldout(form, seed, share)}


def test_the_account_counts_heads_and_those_with_antonyms(tokenizer):
    relations = [Relation("fast", "slow", ANTONYM, "x", "s"), Relation("fast", "rapid", SYNONYM, "x", "s")]
    relations += [Relation("bank", "rapid", SYNONYM, "x", "s"), Relation("stay", "travel", SYNONYM, "x", "s")]
    _, summary = built(lexicon(), relations, tokenizer)
    assert (summary["heads"], summary["heads_with_antonyms"]) == (6, 2)
    assert summary["share_of_heads_with_antonyms"] == 0.333333
    assert summary["pairs_after_the_vote"] == {"x": {"synonym": 6, "antonym": 2}}


def test_the_account_of_a_source_that_gives_nothing_counts_a_pair_of_words_once(tokenizer):
    settings = lexicon(weights={"x": 1.0, "mythes": 1.0})
    both = [Relation("xylo", "zylo", kind, "mythes", "s") for kind in (SYNONYM, ANTONYM)]  # a tie
    both += [Relation("zylo", "xylo", SYNONYM, "mythes", "t"), Relation("xylo", "qylo", SYNONYM, "mythes", "s")]
    statements = Statements([*both, Relation("fast", "rapid", SYNONYM, "x", "s")], [], {}, set())
    settled = settle_pairs(statements, settings)
    table, _ = build_table(settings, settled, tokenizer, {})
    says = "of 2 pairs, the first 'xylo' and 'zylo', 0 have a held-out word, 1 were outvoted, and 1 have no word"
    with pytest.raises(UserError, match=says):
        check_sources(statements, settled, table)
    rest = [relation for relation in statements.relations if relation.source == "x"]
    check_sources(statements._replace(relations=rest), settled, table)
