import pandas as pd
import pytest
from scores.test_sense_match import CLUSTERS, agreement

from dskd.report.dictionary_tables import (
    code_differences_table,
    code_rates_table,
    code_students_table,
    curves_table,
    facts_table,
    groups_table,
    measures_table,
)
from dskd.report.figures import rate_distortion
from dskd.scores.dictionary import plain

FACTS = {
    "text_tokens": 1_499_904,
    "tokens": 3,
    "senses": 7000,
    "states": 27,
    "singleton_share": 0.1234,
    "heads": 7,
    "heads_with_states": 1.0,
    "heads_with_more_than_10_states": 0.5,
    "heads_with_50_states": 0.25,
    "heads_with_a_sense": 0.0,
    "heads_with_two_senses": 0.006,
}


def measure(key, number, **baselines):
    """A measure as reports/senses.json has it; `baselines` are (their figure, how much better at least)."""
    found = {key: number, f"{key}_low": number - 0.01, f"{key}_high": number + 0.02, f"{key}_places": 1234}
    for way, (figure, low) in baselines.items():
        found |= {f"{key}_{way}": figure, f"{key}_less_{way}_low": low, f"{key}_less_{way}_high": low + 0.1}
    return found


def test_facts_are_counts_with_thousands_apart_and_shares_in_per_cent():
    table = facts_table(FACTS | {"wic_auc": 0.5})
    assert list(table.columns) == ["dictionary"] and len(table) == len(FACTS)
    shown = table["dictionary"].to_dict()
    assert shown["tokens that the teacher read"] == "1,499,904" and shown["senses"] == "7,000"
    assert shown["senses of a single state"] == "12.3%" and shown["of these, with a state"] == "100.0%"
    assert shown["with a sense"] == "0.0%" and shown["heads of the lexicon"] == "7"


def test_measures_stand_beside_their_baselines():
    found = FACTS | measure("wic_auc", 0.7, random=(0.6, 0.02), one_sense=(0.5, 0.15))
    table = measures_table(found)
    assert table.to_dict("records") == [
        {
            "text": "WiC",
            "measure": "same sense or not, AUC",
            "places": "1,234",
            "senses": "0.700 [0.690, 0.720] *",
            "random states": "0.600",
            "one sense a word": "0.500",
        }
    ]


@pytest.mark.parametrize(
    "random, one_sense, star", [(0.001, 0.2, True), (0.2, 0.0, False), (-0.1, 0.2, False), (-0.1, -0.2, False)]
)
def test_a_star_stands_where_senses_are_better_than_all_baselines(random, one_sense, star):
    found = measure("examples_rand", 0.4, random=(0.3, random), one_sense=(0.2, one_sense))
    (shown,) = measures_table(found)["senses"]
    assert shown.endswith(" *") == star and shown.startswith("0.400 [0.390, 0.420]")


def test_each_measure_is_found_by_its_name_whatever_the_set_is_called():
    baseline = {"random": (0.1, 0.1), "one_sense": (0.1, 0.1)}
    keys = ("wic_accuracy", "wic_tuned_accuracy", "examples_accuracy", "examples_pos_accuracy", "sem_cor_v_measure")
    found = {}
    for key in (*keys, "heldout_variance", "heldout_variance_within"):
        found |= measure(key, 0.5, **baseline, **({"part_of_speech": (0.4, 0.1)} if key.startswith("ex") else {}))
    table = measures_table(found)
    assert list(zip(table["text"], table["measure"])) == [
        ("WiC", "same sense or not, accuracy"),
        ("WiC", "same sense or not, accuracy with a tuned threshold"),
        ("WordNet's examples", "names the synset, accuracy"),
        ("WordNet's examples", "names the part of speech, accuracy"),
        ("sem_cor", "agreement with synsets, V-measure"),
        ("held-out states", "variance that is explained"),
        ("held-out states", "the same within a token"),
    ]
    assert table["parts of speech"].tolist() == ["", "", "0.400", "0.400", "", "", ""]


def test_a_run_without_measures_has_an_empty_table():
    assert measures_table(FACTS).empty


def test_groups_are_parts_of_speech_and_rare_and_common_words():
    def row(by, group, measure="rand", number=0.5, name="examples"):
        ends = {"value": number, "low": number - 0.1, "high": number + 0.125}
        return {"set": name, "group": group, "measure": measure, "by": by, **ends, "rows": 1234, "words": 3}

    ways = (("senses", 0.5), ("random", 0.25), ("one_sense", 0.125), ("part_of_speech", 0.75))
    rows = [row(by, group, number=number) for group in ("all", "n", "rare") for by, number in ways]
    rows += [row(by, "v", measure, name="semcor") for measure in ("accuracy", "pos_accuracy") for by, _ in ways]
    rows += [row(by, "all", "auc", name="wic") for by, _ in ways]
    table = groups_table(pd.DataFrame(rows))
    assert list(zip(table["text"], table["words"], table["measure"])) == [
        ("WordNet's examples", "nouns", "agreement with synsets, adjusted Rand index"),
        ("WordNet's examples", "rare words", "agreement with synsets, adjusted Rand index"),
        ("semcor", "verbs", "names the synset, accuracy"),
    ]
    assert table.loc[0, ["places", "senses", "random states", "one sense a word"]].tolist() == [
        1234,
        "0.500 [0.400, 0.625]",
        "0.250",
        "0.125",
    ]


def test_the_tables_take_what_the_measures_give():
    table = agreement(random=CLUSTERS)
    shown = measures_table(plain(FACTS, table))
    assert set(shown["text"]) == {"semcor"} and len(shown) == 4
    assert shown["senses"].tolist() == ["1.000 [-, -]"] * 4  # no better than "random", which is the same
    groups = groups_table(table)
    assert set(groups["words"]) == {"nouns", "adjectives", "rare words", "common words"} and len(groups) == 4 * 3


def code(name, size, codebook, mean, *blocks):
    return {"code": name, "bytes": size, "codebook_bytes": codebook, "kl": mean} | {
        f"block_{number}": value for number, value in enumerate(blocks * 3)
    }


CODES = pd.DataFrame(
    [
        code("token mean", 1.75, 3e6, 3.0, 2.0, 4.0),
        code("senses", 2.0, 60e6, 2.0, 1.5, 2.5),
        code("residual 2", 2.0, 6e5, 2.5, 2.0, 3.0),
        code("context", 0.0, 6e5, 1.0, 1.0, 1.0),
    ]
)
FEW = CODES.drop(columns="block_5")


def test_a_codes_bytes_stand_without_and_with_the_codebooks_that_a_text_shares():
    (_, senses, _, context) = code_rates_table(CODES).to_dict("records")
    assert list(senses.values()) == [
        "senses",
        "2.00",
        "60.0",
        "202.0",
        "8.0",
        "2.1",
        "2.000 [1.434, 2.557]",
    ]  # of six blocks
    assert code_rates_table(FEW).iloc[3].tolist()[-1] == "1.000 [-, -]"  # of five
    assert context["bytes a token"] == "0.00" and context["KL (nats/token)"] == "1.000 [1.000, 1.000]"


def test_codes_are_compared_block_by_block():
    mean, free = code_differences_table(CODES).to_dict("records")
    assert list(mean.values()) == ["senses (2.00 bytes)", "token mean (1.75 bytes)", "-1.000 [-1.557, -.434]"]
    assert list(free.values()) == ["senses (2.00 bytes)", "residual 2 (2.00 bytes)", "-.500 [-.500, -.500]"]


def test_the_figure_has_a_line_a_family_and_marks_for_single_codes():
    axis = rate_distortion(CODES).axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines["token and sense, then the rest"] == [[2.0, 2.0]]
    assert lines["residual quantiser"] == [[2.0, 2.5]] and lines["guess from the state below, then the rest"] == []
    assert [text.get_text() for text in axis.texts] == ["token mean"]
    assert any(line.get_linestyle() == ":" and line.get_ydata()[0] == 1.0 for line in axis.lines)


def test_curves_have_a_row_for_each_dictionary_with_the_random_states_in_parentheses():
    made = {"key": "observed", "k": 10, "min_states": 2, "reservoir": 160, "sample_megabytes": 7}
    made |= {"read_seconds": 90, "cluster_seconds": 3.6, "gloss_share": 0.14}
    rows = [
        FACTS | made | {"read": 2, "text_tokens": 2_000, "wic_auc": 0.6, "wic_auc_random": 0.5},
        FACTS | made | {"read": 1, "text_tokens": 1_000, "wic_auc": 0.55, "wic_auc_random": 0.51},
    ]
    table = curves_table(pd.DataFrame(rows))
    assert table["text (tokens)"].tolist() == ["1,000", "2,000"]  # the smallest text first
    assert table["glosses"].tolist() == ["14%"] * 2
    assert table["WiC, AUC"].tolist() == ["0.550 (0.510)", "0.600 (0.500)"]
    assert table["one state"].tolist() == ["12%"] * 2 and "Rand" not in table
    assert table.iloc[0][["read (min)", "cluster (s)", "sample (MB)"]].tolist() == ["2", "4", "7"]


def test_students_of_codes_keep_a_share_of_what_the_teacher_gives():
    rows = [
        ("kl", "kd", 1.0, None),
        ("kl", "ce", 2.0, "kd"),
        ("kl", "senses", 1.25, "kd"),
        ("kl", "senses", 1.25, "ce"),
        ("kl of glosses", "kd", 1.0, None),
        ("kl of glosses", "ce", 1.5, "kd"),
        ("kl of glosses", "senses", 1.6, "kd"),
    ]
    made = pd.DataFrame(rows, columns=["measure", "objective", "mean", "against"])
    made["difference"], made["low"], made["high"] = made["mean"] - 1, made["mean"] - 1.1, made["mean"] - 0.9
    table = code_students_table(made).set_index("student of")
    assert list(table.index) == ["kd", "ce", "senses"]
    assert table["gain kept, articles"].tolist() == ["100%", "0%", "75%"]
    assert table.loc["senses", "gain kept, glosses"] == "-20%"  # worse than without a teacher
    assert table.loc["senses", "- kd, articles"] == "+.250 [+.150, +.350]" and table.loc["kd", "- kd, articles"] == ""
