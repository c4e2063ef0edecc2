"""The run's sense dictionary in numbers, for the notebook that makes it."""

from dskd.params import Params
from dskd.pipeline.dictionary_measures import dictionary_facts, load_dictionaries, probes_table, read_probes
from dskd.scores.dictionary import plain


def describe_dictionary(params: Params) -> dict[str, float]:
    """What the dictionary is, and how well its senses agree with WordNet's; keys as in reports/senses.json. The teacher
    reads WordNet's examples for it."""
    dictionaries = load_dictionaries(params)
    table = probes_table(params, dictionaries, read_probes(params, wic=False))
    return plain(dictionary_facts(dictionaries), table)
