import bz2
import copy
import itertools
import json
import re
from xml.sax.saxutils import escape

import pandas as pd
import pytest
import torch
from tiny import wordnet as tiny_wordnet
from tiny.wordnet import train_metaspace_tokenizer, train_tokenizer, write_wordnet
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from dskd.corpus.build import _in_both, build_corpus, token_bytes
from dskd.corpus.documents import Document, text_documents
from dskd.corpus.packing import Packing, draw, draw_training, pack_pieces
from dskd.corpus.store import load_corpus, save_corpus
from dskd.corpus.wikitext import articles, strip_markup
from dskd.corpus.word_documents import gloss_documents, lexicon_documents, render_gloss
from dskd.errors import UserError
from dskd.lexicon.readers.wordnet import Gloss, glosses, open_wordnet, prepare
from dskd.lexicon.relations import heldout_pairs, heldout_words, is_heldout, normalised
from dskd.model.tokenizer import separator_token
from dskd.params import CorpusParams

ALBEDO = """\
{{Infobox|name=x}}
[[File:Albedo.svg|thumb|200px|A picture of ''light'' in [[space]]]]
'''Albedo''' ({{IPA|x}}; from [[Latin tongue|Latin]]) is 10&nbsp;%.<ref name=a>{{c}} Smith.</ref><ref name="a"/>
It is {{convert|12|km|mi}} wide {{fact}}, and <math>x^2</math>, which grows ({{lang|la|albus}}).<!-- hidden -->
{| class="wikitable"
|-
! Surface || Value
|}
== Effects ==
* Snow ([http://example.org cold]) reflects [[:fr:Neige|neige]].
thumb|left|an unparsed caption
=== Detail ===
More of it.

== See also ==
* [[Moon]]
=== Deeper ===
Nothing.
== Final words ==
The end.
[[Category:Light]]
[[de:Albedo]]
"""


def page(title, text, space=0, redirect=False):
    mark = '<redirect title="x" />' if redirect else ""
    revision = f"<revision><text>{escape(text)}</text></revision>"
    return f"<page><title>{escape(title)}</title><ns>{space}</ns>{mark}{revision}</page>"


def write_dump(path, pages):
    text = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{"".join(pages)}</mediawiki>'
    path.write_bytes(bz2.compress(text.encode()))
    return path


def article(number):
    return " ".join(f"Sentence {number} of {i} says that rivers and hills — été — change. " for i in range(4))


def corpus(**changes):
    values = dict(seed=0, block_length=16, train_tokens=1600, heldout_tokens=800, heldout_share=0.3, gloss_share=0.25)
    values |= dict(heldout_piece=None, lexicon_share=0.0)
    return CorpusParams(**(values | changes))


def stream(tensors, split, source):
    """All tokens of a source in a split, from its overlapping blocks."""
    blocks = tensors[split][tensors[f"{split}_source"] == source]
    return [*blocks[:, :-1].flatten().tolist(), int(blocks[-1, -1])]


NOTHING_HELD = tiny_wordnet.lexicon(seed=0, heldout_share=0.0)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Forty articles, sixty synsets, and a tokenizer."""
    root = tmp_path_factory.mktemp("corpus")
    dump = write_dump(root / "dump.xml.bz2", [page(f"Article {i}", article(i)) for i in range(40)])
    letters = "abcdefghij"
    names = [f"{a}o{b}e" for a in letters for b in letters[:6]]
    synsets = [(n, "n", [n, f"{n}_{n}"], [], f'a kind of thing that is called so; "the {n} ran"') for n in names]
    prepare(write_wordnet(root / "raw", synsets), root / "nltk")
    tokenizer = train_tokenizer([article(i) for i in range(5)])
    return dump, open_wordnet(root / "nltk"), tokenizer


# --- mark-up ---------------------------------------------------------------------------------------------------------


def test_markup_leaves_running_text():
    assert strip_markup(ALBEDO).split("\n") == [
        "Albedo (from Latin) is 10 %.",
        "It is 12 km wide, and, which grows (albus).",
        "Effects",
        "Snow (cold) reflects neige.",
        "Detail",
        "More of it.",
        "Final words",
        "The end.",
    ]


def test_hundreds_of_open_templates_are_no_hang():
    assert strip_markup("Fine. " + "{{lang|a|" * 100_000) == ""
    assert strip_markup("Fine. " + "{{lang|a|b}}" * 600).startswith("Fine. ")


def test_articles_skip_redirects_and_other_namespaces(tmp_path):
    pages = [
        page("A", "a"),
        page("B", "#REDIRECT", redirect=True),
        page("Talk:A", "t", space=1),
        page("C & D", "<b>c</b>"),
    ]
    assert list(articles(write_dump(tmp_path / "d", pages))) == [("A", "a"), ("C & D", "<b>c</b>")]


def test_a_broken_dump_is_an_error(tmp_path):
    whole = write_dump(tmp_path / "d", [page("A", article(1))]).read_bytes()
    for content in (whole[: len(whole) // 2], b"no bz2", bz2.compress(b"<mediawiki><page>")):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(UserError, match="not a whole bz2 MediaWiki dump"):
            list(articles(tmp_path / "broken"))


def test_a_gloss_reads_as_a_sentence():
    gloss = Gloss("bank.n.01", "n", ("bank", "side"), "sloping land", ("they pulled it up", "Who?"))
    assert render_gloss(gloss) == "bank, side: sloping land. They pulled it up. Who?"


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_blocks_overlap_by_one_token_and_are_the_documents(material):
    tensors, _ = build_corpus(corpus(), NOTHING_HELD, *material)
    _, reader, tokenizer = material
    known = {article(i).replace("  ", " ").strip() for i in range(40)} | {render_gloss(g) for g in glosses(reader)}
    for split in ("train", "heldout"):
        for source in (0, 1):
            blocks = tensors[split][tensors[f"{split}_source"] == source]
            assert torch.equal(blocks[1:, 0], blocks[:-1, -1])
            *whole, rest = tokenizer.decode(stream(tensors, split, source)).split("<|endoftext|>")
            assert whole and set(whole) <= known
            assert any(text.startswith(rest) for text in known)


def test_shapes_types_and_gloss_share(material):
    for share, expected in ((0.25, 12), (0.0, 0), (1.0, 50), (0.333, 17)):
        params = corpus(gloss_share=share, train_tokens=815, heldout_tokens=64)
        tensors, summary = build_corpus(params, NOTHING_HELD, *material)
        assert tensors["train"].shape == (50, 17) and tensors["train"].dtype == torch.int32  # 815 // 16 = 50
        assert tensors["train_source"].dtype == torch.int8 and int(tensors["train_source"].sum()) == expected
        assert tensors["heldout"].shape == (4, 17) and not summary["fewer_than_wanted"]
    mixed = build_corpus(corpus(), NOTHING_HELD, *material)[0]["train_source"]
    assert mixed.diff().abs().sum() > 2  # not one source after the other


def test_splits_are_disjoint_and_keep_their_documents_whatever_the_budget(material):
    _, small = build_corpus(corpus(), NOTHING_HELD, *material)
    tensors, large = build_corpus(corpus(train_tokens=10**6, heldout_tokens=10**6), NOTHING_HELD, *material)
    assert small["documents_in_both_splits"] == large["documents_in_both_splits"] == 0
    rows = large["by_split_and_source"]
    for source, total in (("wiki", 40), ("gloss", 60)):
        assert rows[f"train.{source}"]["documents"] + rows[f"heldout.{source}"]["documents"] == total
        for split in ("train", "heldout"):
            available = small["by_split_and_source"][f"{split}.{source}"]["documents_available"]
            assert available == rows[f"{split}.{source}"]["documents_available"]
    assert large["fewer_than_wanted"]["train.wiki"]["blocks"] == rows["train.wiki"]["blocks"] > 0
    texts = {split: material[2].decode(stream(tensors, split, 0)) for split in ("train", "heldout")}
    told = {s: {i for i in range(40) if f"Sentence {i} of 3 " in text} for s, text in texts.items()}
    assert told["train"] and told["heldout"] and not told["train"] & told["heldout"]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_text_that_stands_twice_is_trained_on_only_where_it_is_not_held_out(material, tmp_path):
    """Rows without titles: the second of each pair is the first in other capitals, spaces and marks."""
    texts = [text for i in range(40) for text in (article(i), f"*{article(i).upper()}".replace(" ", "  "))]
    rows = write_rows(tmp_path / "twice.jsonl", [{"text": text} for text in texts])
    settings = corpus(train_tokens=10**6, heldout_tokens=10**6, gloss_share=0.0)
    tensors, summary = build_corpus(settings, NOTHING_HELD, rows, *material[1:])
    said = {split: material[2].decode(stream(tensors, split, 0)).lower() for split in ("train", "heldout")}
    told = {
        split: {i for i in range(40) if f"sentence {i} of" in " ".join(text.split())} for split, text in said.items()
    }
    assert told["heldout"] and told["train"] and not told["heldout"] & told["train"]
    left_out = summary["training_documents_left_out_as_copies_of_heldout_ones"]
    alone = sum(number in told["heldout"] for number in range(40))
    kept = summary["by_split_and_source"]["train.wiki"]["documents_available"]
    heldout = summary["by_split_and_source"]["heldout.wiki"]["documents_available"]
    assert left_out == {"wiki": 80 - kept - heldout} and 0 < left_out["wiki"] < alone * 2
    assert summary["documents_in_both_splits"] == 0


def test_a_text_in_both_splits_is_counted_under_whatever_names_it_stands():
    train = [("text:1", "a"), ("text:2", "b"), ("text:3", ""), ("gloss:x", "c"), ("text:5", "d")]
    assert _in_both(train, [("text:2", "e"), ("text:9", "c"), ("text:8", ""), ("text:7", "f")]) == 2


def test_articles_of_a_few_words_under_other_titles_are_no_copies(tmp_path):
    """WikiExtractor leaves the head of a table alone of every station of a railway."""
    rows = [{"title": f"Station {i}", "text": "Adjacent stations: colspan=5 Sanyo Railway"} for i in range(30)]
    documents = text_documents(write_rows(tmp_path / "stations.jsonl", rows))
    assert draw_training(documents, 0, 0.3) == (draw(documents, "train", 0, 0.3), 0)
    untitled = text_documents(write_rows(tmp_path / "rows.jsonl", [{"text": row["text"]} for row in rows]))
    assert draw_training(untitled, 0, 0.3) == ([], len(draw(untitled, "train", 0, 0.3)))


def test_glosses_of_heldout_words_are_in_no_split(material):
    _, reader, tokenizer = material
    lexicon = tiny_wordnet.lexicon(seed=5, heldout_share=0.3)
    params = corpus(train_tokens=10**5, heldout_tokens=10**5)
    tensors, summary = build_corpus(params, lexicon, *material)
    every = list(glosses(reader))
    held = heldout_words((lemma for gloss in every for lemma in gloss.lemmas), 5, 0.3)
    left_out = [gloss for gloss in every if held & set(gloss.lemmas)]
    assert 0 < len(left_out) < len(every) and summary["glosses_left_out_for_heldout_words"] == len(left_out)
    text = tokenizer.decode(stream(tensors, "train", 1) + stream(tensors, "heldout", 1))
    assert not any(render_gloss(gloss) in text for gloss in left_out)
    assert any(render_gloss(gloss) in text for gloss in every)


def test_heldout_bytes_are_those_of_the_text(material):
    _, _, tokenizer = material
    tensors, summary = build_corpus(corpus(), NOTHING_HELD, *material)
    targets = tensors["heldout"][:, 1:]
    separators = int((targets == separator_token(tokenizer)).sum())
    rows = [summary["by_split_and_source"][f"heldout.{source}"] for source in ("wiki", "gloss")]
    assert separators > 0 and sum(row["byte_tokens"] for row in rows) == targets.numel() - separators
    total = 0
    for block in targets.tolist():
        letters = tokenizer.convert_ids_to_tokens([token for token in block if token != separator_token(tokenizer)])
        total += sum(len(token) for token in letters)
    assert sum(row["bytes"] for row in rows) == total
    glosses_ = targets[tensors["heldout_source"] == 1]
    assert rows[1]["byte_tokens"] == glosses_.numel() - int((glosses_ == separator_token(tokenizer)).sum())


def test_a_block_of_held_out_text_belongs_to_the_document_that_has_most_of_its_tokens(material):
    tensors, summary = build_corpus(corpus(), NOTHING_HELD, *material)
    _, reader, tokenizer = material
    texts = {f"wiki:Article {i}": article(i) for i in range(40)}
    texts |= {f"gloss:{gloss.name}": render_gloss(gloss) for gloss in glosses(reader)}
    separator = separator_token(tokenizer)
    for block, number in zip(tensors["heldout"].tolist(), tensors["heldout_document"].tolist(), strict=True):
        parts = [[]]
        for token in block[1:]:
            parts[-1].append(token)
            if token == separator:
                parts.append([])
        most = max(map(len, parts))
        named = texts[summary["heldout_documents"][number]].replace("  ", " ")
        texts_of_most = [tokenizer.decode(part).removesuffix("<|endoftext|>") for part in parts if len(part) == most]
        assert any(text.strip(" �") in named for text in texts_of_most)
    assert len(set(tensors["heldout_document"].tolist())) == len(summary["heldout_documents"])


def test_pieces_of_held_out_documents_fill_whole_blocks_of_one_document_each(material):
    whole, _ = build_corpus(corpus(), NOTHING_HELD, *material)
    tensors, pieces = build_corpus(corpus(heldout_piece=40), NOTHING_HELD, *material)
    tokenizer = material[2]
    assert torch.equal(tensors["train"], whole["train"])  # the training text stays what it is
    of_wiki = tensors["heldout_source"] == 0
    documents = [pieces["heldout_documents"][n] for n in tensors["heldout_document"][of_wiki].tolist()]
    numbers = {name: documents.count(name) for name in documents}
    assert len(numbers) > len({n for n in whole["heldout_document"][whole["heldout_source"] == 0].tolist()})
    assert max(numbers.values()) == 2  # 40 tokens hold two blocks of 16
    beginnings = set()
    for name in numbers:
        text = tokenizer(article(int(name.split()[1])).replace("  ", " ").strip())["input_ids"]
        rows = [row for row, of in zip(tensors["heldout"][of_wiki].tolist(), documents) if of == name]
        assert all(a[-1] == b[0] for a, b in itertools.pairwise(rows))
        first = next(i for i in range(0, len(text), 16) if text[i : i + 17] == rows[0])
        joined = [*rows[0], *(token for row in rows[1:] for token in row[1:])]
        assert [*text, separator_token(tokenizer)][first : first + len(joined)] == joined
        beginnings.add(first)
    assert len(beginnings) > 1  # not always the beginning of a document
    again, _ = build_corpus(corpus(heldout_piece=40), NOTHING_HELD, *material)
    other, _ = build_corpus(corpus(heldout_piece=40, heldout_tokens=400), NOTHING_HELD, *material)
    assert torch.equal(again["heldout"], tensors["heldout"])
    fewer = other["heldout"][other["heldout_source"] == 0]
    assert torch.equal(fewer, tensors["heldout"][of_wiki][: len(fewer)])  # a piece does not depend on the budget


def test_a_piece_has_all_blocks_that_a_document_and_its_end_fill_and_its_characters_are_those_of_its_blocks(material):
    tokenizer = material[2]
    document, number = Document("a", lambda: article(0)), len(tokenizer(article(0))["input_ids"])
    for length, blocks in ((number + 1, 0), (number, 1), (number - 1, 1), (number // 2, 2), (number // 5, 2)):
        found = pack_pieces([document], 9, 2, 0, tokenizer, Packing(length, separator_token(tokenizer), "test"))
        assert found.blocks.shape == (blocks, length + 1)
        text = tokenizer.decode([token for i, row in enumerate(found.blocks.tolist()) for token in row[i > 0 :]])
        assert found.characters == len(text)


def test_the_lexicon_written_out_is_a_share_of_the_training_text_alone(material):
    words = [f"{a}o{b}e" for a in "abcdefghij" for b in "abcdef"]
    pairs = [(a, b, relation) for a, b in itertools.pairwise(words) for relation in (1, -1)]
    table = pd.DataFrame(pairs, columns=["head", "tail", "relation"])
    doubled = pd.concat([table, table])  # another source says the same, or the head has another form
    tensors, summary = build_corpus(corpus(lexicon_share=0.5), NOTHING_HELD, *material, None, doubled)
    assert [int((tensors["train_source"] == code).sum()) for code in range(4)] == [25, 25, 0, 50]
    assert torch.equal(tensors["heldout"], build_corpus(corpus(), NOTHING_HELD, *material)[0]["heldout"])
    assert "heldout.lexicon" not in summary["by_split_and_source"]
    text = material[2].decode(stream(tensors, "train", 3)).split("<|endoftext|>")
    says = "is the opposite of", "means the same as"
    opposite, same = (f"{words[4].capitalize()} {way} {words[5]}." for way in says)
    assert f"{opposite} {same}" in lexicon_texts(table) and set(text[:-1]) <= lexicon_texts(table)


def lexicon_texts(table):
    return {document.text() for document in lexicon_documents(table)}


def test_glosses_of_heldout_pairs_are_left_out(material):
    _, reader, _ = material
    lexicon = tiny_wordnet.lexicon(seed=5, heldout_pairs=0.3)
    documents, left_out = gloss_documents(reader, lexicon)
    every = list(glosses(reader))
    pairs = {tuple(sorted(map(normalised, gloss.lemmas))) for gloss in every}
    held = heldout_pairs(pairs, 5, 0.3)
    assert 0 < left_out == len(held) < len(every) == left_out + len(documents)
    kept = {document.id for document in documents}
    assert all((tuple(sorted(map(normalised, g.lemmas))) in held) != (f"gloss:{g.name}" in kept) for g in every)


def test_token_bytes_are_those_of_the_text_for_both_kinds_of_tokenizer(material):
    text = "été — ∀x"
    for tokenizer, added in ((material[2], ""), (train_metaspace_tokenizer(["x y z"]), " ")):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert sum(token_bytes(tokenizer, ids)) == len((added + text).encode())


def test_bytes_are_not_told_of_a_tokenizer_that_loses_some():
    pieces = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##re": 2}, unk_token="[UNK]"))
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    with pytest.raises(UserError, match="no tokens for single bytes"):
        token_bytes(PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]"), [1, 2, 0])


def test_a_special_token_in_a_text_closes_no_document(tmp_path, material):
    _, reader, tokenizer = material
    pages = [page(f"P{i}", f"{i}. It names the <nowiki><|endoftext|></nowiki> token often. " * 8) for i in range(20)]
    dump = write_dump(tmp_path / "d", pages)
    params = corpus(gloss_share=0.0, train_tokens=10**5, heldout_tokens=10**5)
    tensors, summary = build_corpus(params, NOTHING_HELD, dump, reader, tokenizer)
    assert "<|endoftext|> token" in tokenizer.decode(stream(tensors, "train", 0))
    closed = int((tensors["train"][:, 1:] == separator_token(tokenizer)).sum())
    assert closed <= summary["by_split_and_source"]["train.wiki"]["documents"]


@pytest.mark.parametrize("form, number", [("X $A", 1), ("X X $A", 2), ("X $A X", 1), ("$A X", 0)])
def test_every_block_begins_as_the_tokenizer_begins_a_text(material, form, number):
    plain, tokenizer = build_corpus(corpus(), NOTHING_HELD, *material)[0], copy.deepcopy(material[2])
    first = tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=form.replace("X", "<|im_end|>"), special_tokens=[("<|im_end|>", first)]
    )
    begun, _ = build_corpus(corpus(), NOTHING_HELD, *material[:2], tokenizer)
    for split in ("train", "heldout"):
        assert (begun[split][:, :number] == first).all() and not (plain[split][:, 0] == first).any()
        assert torch.equal(begun[split][:, number:], plain[split][:, number:])


def test_same_input_same_bytes_and_another_seed_another_order(tmp_path, material):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_corpus(tmp_path / name, *build_corpus(corpus(seed=seed), NOTHING_HELD, *material))
    for file in ("blocks.safetensors", "corpus.json"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b != c
    tensors, summary = load_corpus(tmp_path / "a")
    built, told = build_corpus(corpus(), NOTHING_HELD, *material)
    assert summary == told and all(torch.equal(tensors[name], built[name]) for name in built)


def test_separator_is_the_end_of_a_document_not_of_a_turn(material):
    tokenizer = material[2]
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.convert_ids_to_tokens(separator_token(tokenizer)) == "<|endoftext|>"


def test_an_ordinary_token_of_the_spelling_of_a_separator_is_none(material):
    """Gemma's vocabulary has the piece of HTML </s>, and <eos> as its separator."""
    tokenizer = copy.deepcopy(material[2])
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.add_tokens(["</s>"])
    plain = json.loads(tokenizer.backend_tokenizer.to_str())
    (end,) = (token for token in plain["added_tokens"] if token["content"] == "<|endoftext|>")
    plain["added_tokens"].remove(end)  # an ordinary token from here on
    tokenizer = type(tokenizer)(tokenizer_object=Tokenizer.from_str(json.dumps(plain)), eos_token="<|im_end|>")
    assert {"</s>", "<|endoftext|>"} <= tokenizer.get_vocab().keys()
    assert tokenizer.convert_ids_to_tokens(separator_token(tokenizer)) == "<|im_end|>"
    tokenizer.add_tokens([AddedToken("<|end_of_text|>", special=True)])
    assert tokenizer.convert_ids_to_tokens(separator_token(tokenizer)) == "<|end_of_text|>"


def test_a_token_that_was_added_has_the_bytes_of_its_text(material):
    tokenizer = copy.deepcopy(material[2])
    tokenizer.add_tokens(["∀∃"])
    assert token_bytes(tokenizer, tokenizer("x∀∃", add_special_tokens=False)["input_ids"]) == [1, 6]


def test_an_empty_split_is_an_error(material):
    with pytest.raises(UserError, match=r"the heldout corpus is empty.*tokens; raise corpus.heldout_tokens"):
        build_corpus(corpus(heldout_tokens=8), NOTHING_HELD, *material)
    with pytest.raises(
        UserError, match=r"the heldout corpus is empty.*tokens; set corpus.heldout_piece to null, raise"
    ):
        build_corpus(corpus(heldout_tokens=8, heldout_piece=40), NOTHING_HELD, *material)
    with pytest.raises(UserError, match=r"the train corpus is empty.*tokens; raise corpus.train_tokens"):
        everything = tiny_wordnet.lexicon(seed=0, heldout_share=1.0)
        build_corpus(corpus(gloss_share=1.0), everything, *material)


def test_a_missing_corpus_names_its_stage(tmp_path):
    with pytest.raises(UserError, match="dvc repro corpus"):
        load_corpus(tmp_path / "none")


# --- seeds and held-out words ----------------------------------------------------------------------------------------


def drawn(material, seed):
    """The numbers of the articles of each split in order, all of them asked for, and the sources of a mixed split."""
    every = corpus(seed=seed, gloss_share=0.0, train_tokens=10**6, heldout_tokens=10**6)
    tensors, _ = build_corpus(every, NOTHING_HELD, *material)
    texts = {split: material[2].decode(stream(tensors, split, 0)) for split in ("train", "heldout")}
    found = {split: [int(n) for n in re.findall(r"Sentence (\d+) of 0 ", text)] for split, text in texts.items()}
    mixed, _ = build_corpus(corpus(seed=seed, train_tokens=800), NOTHING_HELD, *material)
    return found, [mixed[f"{split}_source"].tolist() for split in ("train", "heldout")]


def test_the_seed_draws_the_split_and_the_order_of_documents_and_the_mixture_of_sources(material):
    (first, mixed), (other, mixed_otherwise) = drawn(material, 0), drawn(material, 5)
    assert set(first["heldout"]) != set(other["heldout"])
    for found in (first, other):
        assert sorted(found["train"] + found["heldout"]) == list(range(40)) and 5 <= len(found["heldout"]) <= 20
        assert found["train"] != sorted(found["train"]) != found["train"][::-1]
    for split in ("train", "heldout"):
        both = set(first[split]) & set(other[split])
        assert [n for n in first[split] if n in both] != [n for n in other[split] if n in both]
    train, heldout = mixed
    assert train != mixed_otherwise[0] and heldout != mixed_otherwise[1]
    assert train != heldout  # each split is mixed in its own way
    assert [sum(sources) for sources in mixed] == [sum(sources) for sources in mixed_otherwise] == [12, 12]


def test_glosses_of_held_out_words_are_left_out_however_they_are_written(tmp_path, material):
    names = [f"Town of {a}o{b}e" for a in "abcdefgh" for b in "abcdefgh"]
    synsets = [(n, "n", ["place", n.replace(" ", "_")], [], f"where {n[8:]} is") for n in names]
    prepare(write_wordnet(tmp_path / "raw", synsets), tmp_path / "nltk")
    reader = open_wordnet(tmp_path / "nltk")
    seed = next(seed for seed in range(99) if not is_heldout("place", seed, 0.3))
    held = [name for name in names if is_heldout(name.lower(), seed, 0.3)]
    spelt = [name for name in names if is_heldout(name, seed, 0.3)]
    assert held != spelt and 5 < len(held) < 40
    whole = corpus(gloss_share=1.0, train_tokens=10**5, heldout_tokens=10**5)
    words = tiny_wordnet.lexicon(seed=seed, heldout_share=0.3)
    tensors, summary = build_corpus(whole, words, material[0], reader, material[2])
    text = material[2].decode(stream(tensors, "train", 1) + stream(tensors, "heldout", 1))
    assert summary["glosses_left_out_for_heldout_words"] == len(held)
    assert not any(f"where {name[8:]} is" in text for name in held)
    assert sum(f"where {name[8:]} is" in text for name in names) > 20
