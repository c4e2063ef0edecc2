"""Which words are negations; tests/polarity.tsv is the list that was judged by hand.

Its columns: word; base, where the word negates one that WordNet knows; sign; how the word came into the list, as
affix/stratum for the seeded draw from WordNet's words (has: MorphyNet derives it by that affix, word: what is left is
a word, neither), or `named` and `chosen` by hand; what the judgement rests on; a note. The named ones and half of
the others, by hash, are for development: only they may lead to an entry in `LOOKALIKES`. The rest is the test.
"""

import csv
import os
from pathlib import Path

import pytest

from dskd.artifacts import SOURCES
from dskd.lexicon import open_wordnet
from dskd.lexicon.morphology import Derivation, read_derivations
from dskd.lexicon.polarity import AFFIXES, LOOKALIKES, RISKY, Polarity, flip, negations, polarity
from dskd.lexicon.relations import ANTONYM, SYNONYM, Relation, heldout_words, merge
from dskd.lexicon.wordnet import read_index

ROOT = Path(__file__).parents[1]
GOLD = Path(__file__).with_name("polarity.tsv")

STEPS = """
happy unhappy un- J J, unhappy unhappily -ly J R, happiness unhappiness un- N N, unhappy unhappiness -ness J N,
hope hopeless -less N J, hopeless hopelessness -ness J N, home hopeless -less N J, mercy merciless -less N J,
honest dishonest dis- J J, possible impossible in- J J, legal illegal il- J J, moral immoral im- J J,
sense nonsense non- N N, nonsense non-nonsense non- N N, disputed undisputed un- J J, color discolor dis- N V,
ease disease dis- N N, disease diseased -ed N J, valuable invaluable in- J J, invaluable invaluably -ly J R,
valuably invaluably in- R R, press impress im- N V, come income in- V N, born inborn in- V J, take intake in- V N,
body antibody anti- N N, lead lead-free -free N J, ion union un- N N, uncle unclelike -like N J
"""
DERIVATIONS = {}
for base, word, affix, base_pos, pos in (step.split() for step in STEPS.split(",")):
    DERIVATIONS.setdefault(word, []).append(Derivation(base, affix, base_pos, pos))
KNOWN = {step.base for steps in DERIVATIONS.values() for step in steps} - {"ion"} | {"happily", *DERIVATIONS}


def undone(word, **options):
    return polarity(word, DERIVATIONS, KNOWN, **options)


@pytest.mark.parametrize(
    ("word", "base", "affixes"),
    [
        ("unhappy", "happy", ("un-",)),
        ("dishonest", "honest", ("dis-",)),
        ("hopeless", "hope", ("-less",)),  # and not home, as MorphyNet has it too
        ("merciless", "mercy", ("-less",)),
        ("impossible", "possible", ("im-",)),  # whichever of its forms the resource calls the prefix
        ("immoral", "moral", ("im-",)),
        ("illegal", "legal", ("il-",)),
        ("unhappily", "happily", ("un-",)),  # through unhappy; the base keeps the suffix where that is a word
        ("unhappiness", "happiness", ("un-",)),
        ("hopelessness", "hope", ("-less",)),
        ("undisputed", "disputed", ("un-",)),
    ],
)
def test_a_negation_gives_its_base(word, base, affixes):
    assert undone(word) == Polarity(base, -1, affixes)


@pytest.mark.parametrize("word", "happy hope under uncle unclelike bless display impress income intake inborn".split())
def test_a_look_alike_stays_as_it_is(word):
    assert undone(word) == Polarity(word, 1, ())


def test_two_negations_do_not_flip():
    assert undone("non-nonsense") == Polarity("non-nonsense", 1, ())


@pytest.mark.parametrize("word", ["disease", "diseased", "invaluable", "invaluably"])
def test_an_exception_holds_for_what_is_built_on_it(word):
    assert undone(word).sign == 1
    assert undone(word, lookalikes=()).sign == -1


def test_a_flip_needs_a_known_base():
    assert undone("union").sign == 1
    assert polarity("union", DERIVATIONS, {"ion"}) == Polarity("ion", -1, ("un-",))
    assert polarity("unhappily", DERIVATIONS, {"happy"}) == Polarity("happy", -1, ("un-",))


def test_risky_affixes_are_off_until_asked_for():
    assert undone("antibody").sign == undone("lead-free").sign == 1
    assert undone("antibody", affixes=AFFIXES + RISKY) == Polarity("body", -1, ("anti-",))
    assert undone("lead-free", affixes=AFFIXES + RISKY) == Polarity("lead", -1, ("-free",))
    assert undone("unhappy", affixes=["dis-"]).sign == 1


def test_derivations_in_a_circle_end():
    steps = {"unable": [Derivation("ununable", "-ed")], "ununable": [Derivation("unable", "un-")]}
    assert polarity("unable", steps, {"unable"}).sign == 1


def relations(*pairs):
    return [Relation(*pair, "wordnet", "s") for pair in pairs]


SAD = relations(("sad", "unhappy", SYNONYM), ("hopeless", "sad", SYNONYM))
NEGATED = {"hopeless": ("hope", -1, ("-less",)), "unhappy": ("happy", -1, ("un-",))}


def test_the_report_of_flips_is_sorted_and_holds_no_other_word():
    assert list(negations(SAD * 2, DERIVATIONS, KNOWN, iter(AFFIXES)).items()) == list(NEGATED.items())


def test_a_synonym_of_its_base_negates_nothing():
    stain = ("discolor", "stain", SYNONYM)
    assert list(negations(relations(stain), DERIVATIONS, KNOWN)) == ["discolor"]
    assert not negations(relations(stain, ("color", "discolor", SYNONYM)), DERIVATIONS, KNOWN)
    assert negations(relations(stain, ("color", "discolor", ANTONYM)), DERIVATIONS, KNOWN)


@pytest.mark.parametrize(
    ("relation", "new"),
    [
        (("sad", "unhappy", SYNONYM), ("sad", "happy", ANTONYM)),
        (("unhappy", "glad", ANTONYM), ("happy", "glad", SYNONYM)),
        (("unhappy", "hopeless", SYNONYM), ("happy", "hope", SYNONYM)),
        (("hopeless", "unhappy", ANTONYM), ("hope", "happy", ANTONYM)),
        (("happy", "unhappy", ANTONYM), None),  # happy is no relation of itself
        (("sad", "glad", ANTONYM), None),
    ],
)
def test_a_flip_comes_after_the_relation_that_it_is_made_of(relation, new):
    negated = negations(SAD, DERIVATIONS, KNOWN)
    plain = Relation(*relation, "wordnet", "s")
    assert list(flip([plain], negated)) == [plain, *([Relation(*new, "wordnet", "s", True)] if new else [])]


def test_a_pair_that_is_also_stated_is_not_called_flipped():
    both = [*SAD, Relation("sad", "happy", ANTONYM, "wordnet", "t")]
    (pair,) = [pair for pair in merge(flip(both, negations(both, DERIVATIONS, KNOWN))) if pair[:2] == ("happy", "sad")]
    assert (pair.relation, pair.senses, pair.flipped) == (ANTONYM, ("s", "t"), False)


def test_no_flip_contradicts_what_is_stated():
    both = relations(("sad", "unhappy", SYNONYM), ("happy", "sad", SYNONYM))
    assert list(flip(both, negations(both, DERIVATIONS, KNOWN))) == both


# --- against the list ------------------------------------------------------------------------------------------------


def gold() -> list[dict]:
    with open(GOLD, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def halves() -> dict[str, list[dict]]:
    rows = gold()
    test = heldout_words((row["word"] for row in rows if row["drawn"] != "named"), seed=0, share=0.5)
    return {
        "development": [row for row in rows if row["word"] not in test],
        "test": [row for row in rows if row["word"] in test],
    }


def test_the_list_is_well_formed():
    rows = gold()
    assert [row["word"] for row in rows] == sorted({row["word"] for row in rows}) and len(rows) > 400
    assert all((row["sign"], bool(row["base"])) in {("-1", True), ("1", False)} for row in rows)
    assert all(row["note"] and row["sources"] and row["drawn"] for row in rows)


def test_no_exception_is_taken_from_the_test_half():
    words = {half: {row["word"] for row in rows} for half, rows in halves().items()}
    assert not words["test"] & LOOKALIKES.keys()


def precision_and_recall(rows, known, derivations):
    found = {row["word"]: polarity(row["word"], derivations, known) for row in rows}
    flipped = {word for word, undone in found.items() if undone.sign < 0}
    negated = {row["word"] for row in rows if row["sign"] == "-1"}
    right = {row["word"] for row in rows if row["word"] in flipped & negated and found[row["word"]].base == row["base"]}
    return len(right) / len(flipped), len(right) / len(negated)


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
@pytest.mark.skipif(not (ROOT / SOURCES / "nltk_data").is_dir(), reason="`dvc repro sources` was not run")
def test_with_morphynet_most_flips_are_right_and_most_negations_found():
    known = {word for word, _ in read_index(open_wordnet(ROOT / SOURCES / "nltk_data"))}
    derivations = read_derivations(Path(os.environ["DSKD_MIRROR"]) / "morphology" / "morphynet_eng.derivational.tsv.gz")
    for half, rows in halves().items():
        precision, recall = precision_and_recall(rows, known, derivations)
        assert precision > FLOOR[half][0] and recall > FLOOR[half][1], (half, precision, recall)


FLOOR = {"development": (0.97, 0.82), "test": (0.90, 0.84)}  # precision, recall
