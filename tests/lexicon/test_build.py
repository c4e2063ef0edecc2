import json
import random
from collections import Counter

import pandas as pd
import pytest
from tiny.wordnet import lexicon, train_metaspace_tokenizer, train_tokenizer, write_wordnet

from dskd.errors import UserError
from dskd.lexicon.build import Files, Statements, read_statements, settle_pairs
from dskd.lexicon.readers import wordnet
from dskd.lexicon.readers.morphology import Derivation
from dskd.lexicon.readers.wordnet import glosses, open_wordnet, prepare
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, heldout_words, is_heldout, merge
from dskd.lexicon.store import antonyms, load_lexicon, save_lexicon, synonyms
from dskd.lexicon.table import build_table, conflicts_table, negations_table
from dskd.lexicon.tokens import inflected_forms, word_tokens

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


def test_word_tokens_are_those_inside_a_text(tokenizer):
    for word, span in word_tokens(tokenizer, ["bank", "banking company", "é"]).items():
        inside = tokenizer(f"the {word}", add_special_tokens=False)["input_ids"]
        assert tuple(inside[-len(span) :]) == span and tokenizer.decode(list(span)) == f" {word}"


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
