import pytest
from corpus.test_tagged_text import write
from tiny.models import TEXT
from tiny.wordnet import lexicon, train_metaspace_tokenizer, write_wordnet
from tokenizers.processors import TemplateProcessing

from dskd.errors import UserError
from dskd.lexicon.readers.wordnet import open_wordnet, prepare
from dskd.lexicon.relations import is_heldout
from dskd.scores.sense_places import (
    Place,
    before,
    example_places,
    of_several_synsets,
    tagged_places,
    unread,
    wic_places,
)

SYNSETS = [
    ("bank1", "n", ["bank", "depository"], [], 'holds money; "a Bank closed"; "the banks\' men"; "two banks merged"'),
    ("bank2", "n", ["bank"], [], 'sloping land; "the mole is on the bank, the wide bank"; "bankers, a bankrupt"'),
    ("bank3", "v", ["bank"], [], 'tilt; "the plane banked"; "it was banking"'),
    ("mole1", "n", ["mole"], [], 'an animal; "the mole digs"'),
    ("mole2", "n", ["mole"], [], 'a spot; "a mole on the chin"'),
    ("spring", "n", ["spring"], [], 'a season; "spring came"; "two springs"'),
    ("quick1", "a", ["quick"], [("&", "quick2", 0, 0)], 'fast; "a quick car"'),
    ("quick2", "s", ["quick"], [("&", "quick1", 0, 0)], 'done fast; "a quicker look"'),
]
BANK = [
    ("a Bank closed", 2, "bank.n.01"),
    ("two banks merged", 4, "bank.n.01"),
    ("the mole is on the bank, the wide bank", 19, "bank.n.02"),
    ("the mole is on the bank, the wide bank", 34, "bank.n.02"),
    ("the plane banked", 10, "bank.v.01"),
    ("it was banking", 7, "bank.v.01"),
]
OTHERS = [
    ("mole", "the mole digs", 4, "mole.n.01"),
    ("mole", "a mole on the chin", 2, "mole.n.02"),
    ("quick", "a quick car", 2, "quick.a.01"),
    ("quick", "a quicker look", 2, "quick.s.01"),
]
PLACES = {Place("bank", *place) for place in BANK} | {Place(*place) for place in OTHERS}


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    """A reader of a WordNet whose index of sense keys is whole: the second noun "bank" is bank%1:00:01::."""
    root = tmp_path_factory.mktemp("wordnet")
    prepare(write_wordnet(root / "raw", SYNSETS), root / "nltk")
    folder = root / "nltk/corpora/wordnet"
    data = (folder / "data.noun").read_text()
    for word in ("bank", "mole"):
        second = data.rindex(f" {word} 0 ")
        data = data[:second] + f" {word} 1 " + data[second + len(f" {word} 1 ") :]
    (folder / "data.noun").write_text(data)
    reader = open_wordnet(root / "nltk")
    lines = {"'hood%1:15:00:: 00000000 1 0\n"}  # as in WordNet: NLTK's search does not find the first line
    for synset in reader.all_synsets():
        lines |= {f"{lemma.key()} {synset.offset():08d} 1 0\n" for lemma in synset.lemmas()}
    (folder / "index.sense").write_text("".join(sorted(lines)))
    return reader


# --- WiC and WordNet's examples --------------------------------------------------------------------------------------


def test_a_row_of_wic_is_two_places_one_after_the_other():
    row = {"word": "Bank", "sentence1": "a bank", "sentence2": "Banks rose", "span1": [2, 6], "span2": [0, 5]}
    other = {"word": "go", "sentence1": "go on", "sentence2": "let go", "span1": [0, 2], "span2": [4, 6]}
    assert wic_places([row, other]) == [
        Place("bank", "a bank", 2),
        Place("bank", "Banks rose", 0),
        Place("go", "go on", 0),
        Place("go", "let go", 4),
    ]
    assert wic_places([row])[0].synset == ""


def test_satellites_are_adjectives_and_a_point_in_a_name_is_no_part_of_speech():
    assert [Place("", "", 0, name).pos for name in ("a.n.01", "a.s.02", "ph.d..n.01", "s.v.10")] == list("nanv")


def test_examples_have_the_places_of_a_word_in_all_its_forms(wordnet):
    found = example_places(wordnet, lexicon(heldout_share=1.0))
    assert set(found) == PLACES and len(found) == len(PLACES)  # without "spring", which has one synset


def test_only_held_out_words_have_places(wordnet):
    assert example_places(wordnet, lexicon(heldout_share=0.0)) == []
    seen = set()
    for seed in range(30):
        held = {word for word in ("bank", "mole", "quick") if is_heldout(word, seed, 0.5)}
        found = example_places(wordnet, lexicon(seed=seed, heldout_share=0.5))
        assert set(found) == {place for place in PLACES if place.word in held}
        seen.add(frozenset(held))
    assert len(seen) > 4


def test_words_with_places_in_one_synset_are_left_out():
    one, two = Place("a", "x", 0, "a.n.01"), Place("b", "x", 0, "b.n.01")
    further = [two._replace(start=3), two._replace(synset="b.n.02")]
    assert of_several_synsets([one, two, one, *further]) == [two, *further]
    assert of_several_synsets([]) == []


# --- the tokens before a word ----------------------------------------------------------------------------------------

SENTENCE = "the quick foxes jumped over the laziest dozen"  # some words are several tokens


@pytest.fixture(scope="module", params=["byte level", "metaspace", "with a beginning"])
def any_tokenizer(request, tokenizer):
    """Of three kinds, with the text that a document begins with."""
    if request.param == "byte level":
        return tokenizer, "<|endoftext|>"
    made = train_metaspace_tokenizer(TEXT, size=80)
    if request.param == "metaspace":
        return made, "</s>"
    number = made.convert_tokens_to_ids("<unk>")
    made.backend_tokenizer.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", number)])
    return made, "<unk>"


def test_all_tokens_before_the_word_and_none_of_it_after_the_beginning_of_a_document(any_tokenizer):
    tokenizer, begins = any_tokenizer
    places = [Place(word, SENTENCE, SENTENCE.index(word)) for word in SENTENCE.split()[1:] if word != "the"]
    places.append(Place("the", SENTENCE, SENTENCE.rindex("the")))
    whole = tokenizer(SENTENCE, add_special_tokens=False).input_ids
    for place, (first, *ids) in zip(places, before(places, tokenizer)):
        assert first == tokenizer.convert_tokens_to_ids(begins)
        assert ids == whole[: len(ids)] and tokenizer.decode(ids).strip() == SENTENCE[: place.start].strip()
        rest = whole[len(ids) :]
        assert tokenizer.decode(rest).strip() == SENTENCE[place.start :]
    assert len(whole) > len(SENTENCE.split())


def test_a_word_at_the_very_start_comes_after_the_beginning_alone(any_tokenizer):
    tokenizer, begins = any_tokenizer
    number = tokenizer.convert_tokens_to_ids(begins)
    assert before([Place("quick", "quick fox", 0), Place("dog", "dog", 0)], tokenizer) == [[number], [number]]


def test_a_text_may_name_a_word_twice(tokenizer):
    first, second = before([Place("the", SENTENCE, 0), Place("the", SENTENCE, SENTENCE.rindex("the"))], tokenizer)
    assert len(first) == 1 and tokenizer.decode(second[1:]) == "the quick foxes jumped over"


def test_a_sign_before_a_word_belongs_to_what_comes_before(tokenizer):
    (ids,) = before([Place("small", "a big, small", 7)], tokenizer)
    assert tokenizer.decode(ids[1:]) == "a big,"


# --- tagged text -----------------------------------------------------------------------------------------------------


def tagged(folder, keys, words=None):
    """A tagged text of a sentence for each key, "a WORD here"."""
    words = words or [key.partition("%")[0] for key in keys]
    sentences = [
        f'<sentence id="d0.s{i}"><wf lemma="a" pos="DET">a</wf><instance id="d0.s{i}.t0" lemma="{word}" pos="NOUN">'
        f'{word}s</instance><wf lemma="here" pos="ADV">here</wf></sentence>'
        for i, word in enumerate(words)
    ]
    lines = [f"d0.s{i}.t0 {key}\n" for i, key in enumerate(keys)]
    return write(folder, f'<corpus lang="en"><text id="d0">{"".join(sentences)}</text></corpus>', "".join(lines))


def test_tagged_words_have_the_synset_of_their_key(tmp_path, wordnet):
    keys = ["bank%1:00:00::", "bank%1:00:01::", "bank%2:00:00::", "mole%1:00:00::", "bank%1:00:00::"]
    names = ["bank.n.01", "bank.n.02", "bank.v.01", None, "bank.n.01"]  # of "mole", one synset is met
    assert tagged_places(tagged(tmp_path / "semcor", keys), wordnet) == [
        Place("bank", "a banks here", 2, name) for name in names if name
    ]


@pytest.mark.parametrize("key", ["bank%1:00:07::", "bonk%1:00:00::", "bank%9:00:00::", "bank%1:00", "bank%x:00:00::"])
def test_a_key_of_another_wordnet_is_an_error_that_names_it(tmp_path, wordnet, key):
    folder = tagged(tmp_path / "semcor", ["bank%1:00:00::", key, "bank%1:00:01::"])
    with pytest.raises(UserError, match="is no sense of this WordNet") as raised:
        tagged_places(folder, wordnet)
    assert str(raised.value).startswith(f"{folder}: {key} is") and "\n" not in str(raised.value)


def test_rows_of_wic_with_a_sentence_that_a_dictionary_may_have_read_are_left_out(wordnet):
    rows = [
        {"id": 1, "sentence1": "Two banks, merged!", "sentence2": "He has a bank ."},  # as WordNet has it but for marks
        {"id": 2, "sentence1": "We bank here .", "sentence2": "THE PLANE BANKED"},
        {"id": 3, "sentence1": "We bank here .", "sentence2": "The plane banked twice ."},
    ]
    for documents in (["", ""], ["gloss:bank.n.01", "gloss:bank.v.01"]):
        assert [row["id"] for row in unread(rows, wordnet, documents)] == [3]
    assert [row["id"] for row in unread(rows, wordnet, ["wiki:Bank", "gloss:bank.v.01"])] == [1, 3]


def test_an_example_that_stands_under_two_synsets_is_left_out(tmp_path):
    synsets = [
        ("mole1", "n", ["mole"], [], 'one; "the mole digs"; "a mole"'),
        ("mole2", "n", ["mole"], [], 'two; "a mole"'),
        ("mole3", "v", ["mole"], [], 'three; "they mole"'),
    ]
    prepare(write_wordnet(tmp_path / "raw", synsets), tmp_path)
    found = example_places(open_wordnet(tmp_path), lexicon(heldout_share=1.0))
    assert {place.text for place in found} == {"the mole digs", "they mole"}
