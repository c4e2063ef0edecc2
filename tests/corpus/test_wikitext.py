"""Dumps of other years and kinds, and mark-up that looks like none, or like other."""

import bz2

import pytest
from corpus.test_build import page, write_dump

from dskd.corpus.wikitext import articles, strip_markup
from dskd.errors import UserError


def dump(path, pages, info=""):
    text = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.4/">{info}{"".join(pages)}</mediawiki>'
    path.write_bytes(bz2.compress(text.encode()))
    return path


def old_page(title, text):
    return f"<page><title>{title}</title><id>1</id><revision><text>{text}</text></revision></page>"


def revision(stamp, text):
    stamp = f"<timestamp>{stamp}</timestamp>" if stamp else ""
    return f"<revision>{stamp}<text>{text}</text></revision>"


# --- dumps -----------------------------------------------------------------------------------------------------------


def test_a_page_that_does_not_say_its_namespace_is_an_article_by_its_title(tmp_path):
    info = '<siteinfo><namespaces><namespace key="0"/><namespace key="102">Mirador</namespace></namespaces></siteinfo>'
    other = ["Talk:A", "User talk:B", "wikipedia:About", "File:A.png", "Template:X", "Mirador:Y", "mirador talk:Z"]
    pages = [old_page(title, "no") for title in other]
    pages += [old_page("C", "#REDIRECT [[A]]"), old_page("D", " #redirect: [[A]]")]
    pages += [old_page("A", "a"), old_page("CSI: Miami", "b"), old_page("Talk", "c")]
    assert list(articles(dump(tmp_path / "d", pages, info))) == [("A", "a"), ("CSI: Miami", "b"), ("Talk", "c")]


def test_the_sites_own_names_of_pictures_and_categories_are_no_text(tmp_path):
    names = {"0": "", "1": "Diskussion", "6": "Datei", "14": "Kategorie"}
    spaces = "".join(f'<namespace key="{key}">{name}</namespace>' for key, name in names.items())
    text = "Das [[datei:a.png|mini|Ein Bild]]Licht.[[Kategorie:A]] Siehe [[Diskussion: Licht]], [[:Kategorie:Licht]]."
    pages = [old_page("Licht", text)]
    info = f"<siteinfo><namespaces>{spaces}</namespaces></siteinfo>"
    ((_, markup),) = articles(dump(tmp_path / "d", pages, info))
    assert strip_markup(markup) == "Das Licht. Siehe Diskussion: Licht, Kategorie:Licht."


def test_pages_of_code_are_no_articles(tmp_path):
    style = "<page><title>S</title><ns>0</ns><revision><model>sanitized-css</model><text>.x{}</text></revision></page>"
    text = "<page><title>T</title><ns>0</ns><revision><model>wikitext</model><text>It is.</text></revision></page>"
    assert [markup for _, markup in articles(dump(tmp_path / "a.bz2", [style, text]))] == ["", "It is."]


def test_the_newest_revision_is_taken(tmp_path):
    stamps = ["2010-01-01T00:00:00Z", "2012-05-01T00:00:00Z", "2011-01-01T00:00:00Z"]
    history = "".join(revision(stamp, f"of {stamp[:4]}") for stamp in stamps)
    undated = revision("", "first") + revision("", "last")
    pages = [f"<page><title>{t}</title><ns>0</ns>{r}</page>" for t, r in (("A", history), ("B", undated))]
    assert list(articles(dump(tmp_path / "d", pages))) == [("A", "of 2012"), ("B", "last")]


@pytest.mark.parametrize(
    "pages",
    [
        [],
        [page("A", "#REDIRECT", redirect=True), page("Talk:A", "t", space=1)],
        [page("A", ""), page("B", " ")],
        ["<page><title>A</title><ns>0</ns><revision><id>1</id></revision></page>"],  # a dump of stubs
    ],
)
def test_a_dump_without_an_article_is_an_error(tmp_path, pages):
    with pytest.raises(UserError, match=f"has no article with text among {len(pages)} pages"):
        list(articles(write_dump(tmp_path / "d", pages)))


# --- mark-up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        # Links: only names of languages and of a few namespaces take them out of the text.
        ("In [[CSI: Miami]] and [[Ben-Hur: A Tale of the Christ|''Ben-Hur'']].", "In CSI: Miami and Ben-Hur."),
        ("[[God: A Biography]], [[USA: A Tour|b]], [[Up: The Film]]", "God: A Biography, b, Up: The Film"),
        ("Light.[[de:Licht]] [[zh-min-nan:Kng]][[Simple:Light]][[be-x-old:a]]", "Light."),
        ("See [[:de:Licht|Licht]].[[ file:a.png|thumb]][[Category:Light]]", "See Licht."),
        ("of [[:Category:Light]] and [[:Category:Dogs|dogs]]", "of Category:Light and dogs"),
        # Measures.
        ("It is {{convert|3|to|5|km|mi}} long.", "It is 3 to 5 km long."),
        ("It is {{Cvt|3|&ndash;|{{nowrap|5}}|km|abbr=on}} long.", "It is 3–5 km long."),
        ("At {{convert|6|ft|4|in|cm|0}}, he", "At 6 ft 4 in, he"),
        # Other templates that stand in a sentence.
        (
            "From 1939{{ndash}}1945{{snd}}see {{As of|2011|lc=y}}, 5{{nbsp}}km.",
            "From 1939–1945 – see as of 2011, 5 km.",
        ),
        ("He ate {{frac|1|2}} of {{lang-fr|[[pain]]}}.{{sfn|X|2001}}", "He ate 1/2 of pain."),
        ("{{convert|{{frac|1|2}}|mi|km}} away, {{formatnum:12345}} mc{{sup|2}}", "1/2 mi away, 12,345 mc2"),
        ("It took 2{{frac|1|2}} days ({{frac|1|4}} of ten)", "It took 2 1/2 days (1/4 of ten)"),
        ("He said: {{quote|text=''So'' it goes.|author=V.}}", "He said: So it goes."),
        # What stands on a line of its own.
        ('He said:<div class="center">All is [[well]].</div>And so', "He said:\nAll is well.\nAnd so"),
        ("<div>\n{{reflist}}\n<references/></div>The end.", "The end."),
        ("one<br />two<br>three", "one\ntwo\nthree"),
        ("<p>one</p><p>two</p><blockquote>three</blockquote>four", "one\ntwo\nthree\nfour"),
        ("* one\n* two\n: ''three''", "one\ntwo\nthree"),
        ("<li>one</li><li>two</li>", "one\ntwo"),
        # Text that must not be read as mark-up.
        ("If i<j and k>l, take List<String>.", "If i<j and k>l, take List<String>."),
        ("One</ref> two<br clear=all />three <font color=red>four", "One two\nthree four"),
        ("Write <nowiki>[[link]]</nowiki> for a link.", "Write [[link]] for a link."),
        ("Write <nowiki>{{name|''x''}}</nowiki> or {{fact}} <nowiki>|</nowiki>.", "Write {{name|''x''}} or |."),
        ("A <nowiki><ref>a</ref> &amp; http://x.org __TOC__</nowiki> b.", "A <ref>a</ref> & http://x.org __TOC__ b."),
        ("''The Times''<nowiki/>' editor", "The Times' editor"),
        ("<nowiki>one\n* two</nowiki>", "one\n* two"),
        ("== The <nowiki>[[x]]</nowiki> of {{fact}}<ref>y</ref> ==\nIt.", "The [[x]] of\nIt."),
        ("[http://x.org <nowiki>[a]</nowiki> page]", "[a] page"),
        ("Write &lt;b&gt;bold&#60;/b&#x3e;, where a &lt; b.", "Write <b>bold</b>, where a < b."),
        ("!Kung people live there.\n! Name\n!a!!b\n!a || b", "!Kung people live there."),
        ('A map <mapframe width="2">{"type": "Point"}</mapframe>here.<graph>{"a": 1}</graph>', "A map here."),
        ('A <maplink zoom="9">{"type": "Point"}</maplink>map.', "A map."),
    ],
)
def test_text_that_looks_like_mark_up_stays_and_mark_up_goes(markup, text):
    assert strip_markup(markup) == text


def test_characters_of_a_private_place_are_no_text():
    assert strip_markup("A\U0010ff5b\U0010ff5bb") == "Ab"
