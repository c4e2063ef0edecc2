import pytest
import torch
from tiny.models import generator, sense_settings

from dskd.codes.codec import Code, book_of, encode_states, encode_text, left_of_sample, make_code
from dskd.codes.material import Material, material_of
from dskd.codes.reading import read_back
from dskd.model.logits import Head, widened
from dskd.states.store import States

BLOCKS, LENGTH, D, TOKENS = 24, 25, 8, 6
HEAD = widened(Head(torch.randn(40, D, generator=generator(9)).bfloat16()))
KINDS = ["senses", "token_mean", "random_sense", "senses+3", "residual+2", "context", "context+2"]
KINDS += ["context+senses", "context+token_mean"]


@pytest.fixture(scope="module")
def material():
    """States of six tokens with three senses each; some of what is left of them can be guessed from those below."""
    g = generator(0)
    keys = torch.randint(TOKENS, (BLOCKS, LENGTH), generator=g)
    sense = torch.randint(3, (BLOCKS, LENGTH), generator=g)
    below = torch.randn(BLOCKS, LENGTH, D, generator=g)
    centres = 2 * torch.randn(TOKENS, 1, D, generator=g) + 2 * torch.randn(TOKENS, 3, D, generator=g)
    noise = 0.4 * torch.randn(BLOCKS, LENGTH, D, generator=g)
    hidden = centres[keys, sense] + below @ (0.4 * torch.randn(D, D, generator=g)) + noise
    shards = (list(column.split(10)) for column in (hidden.bfloat16(), below.bfloat16(), keys.int()))
    return material_of(States(*shards), HEAD, sense_settings(k=3, min_states=2, reservoir=200, iterations=20))


def whole(of: Material):
    return tuple(torch.cat(shards).flatten(0, 1) for shards in of.states[:2])


def read(code: Code, of: Material):
    return read_back(book_of(code, of.metric), encode_text(code, of), whole(of)[1], torch.float32)


def error(codec: str, of: Material) -> float:
    """Mean square, after the head, of what a code leaves."""
    return float(((read(make_code(codec, of), of) - whole(of)[0].float()) @ of.metric).square().sum(dim=1).mean())


@pytest.mark.parametrize(
    ("codec", "rows", "guessed"),
    [
        ("senses", [3 * TOKENS], False),
        ("token_mean", [TOKENS], False),
        ("random_sense", [3 * TOKENS], False),
        ("senses+2", [3 * TOKENS, 256, 256], False),
        ("residual+3", [256, 256, 256], False),
        ("context", [], True),
        ("context+1", [256], True),
        ("context+token_mean", [TOKENS], True),
        ("context+senses", [3 * TOKENS], True),
        ("context+senses+1", [3 * TOKENS, 256], True),
    ],
)
def test_a_codec_says_which_tables_there_are(material, codec, rows, guessed):
    code = make_code(codec, material)
    assert [len(table) for table in code.tables] == rows and (code.line is not None) == guessed
    assert encode_text(code, material).shape == (BLOCKS * LENGTH, len(rows))
    assert all(torch.equal(table, table.bfloat16().float()) for table in code.tables)


def test_what_a_code_leaves_falls_with_what_it_keeps(material):
    found = {codec: error(codec, material) for codec in (*KINDS, "residual+1")}
    assert found["senses"] < 0.5 * found["token_mean"] < 0.8 * found["random_sense"]
    assert found["senses+3"] < 0.3 * found["senses"]
    assert found["residual+2"] < 0.5 * found["residual+1"]
    assert found["context+2"] < 0.5 * found["context"]
    assert found["context+senses"] < 0.7 * min(found["context"], found["senses"])
    assert found["context+senses"] < 0.9 * found["context+token_mean"]
    spread = float((whole(material)[0].float() @ material.metric).var(dim=0).sum())
    assert found["context"] < 0.95 * spread


def test_token_and_sense_are_the_nearest_row_of_the_token_and_the_rest_is_of_what_it_leaves(material):
    code, (hidden, _) = make_code("senses+2", material), whole(material)
    codes, x = encode_text(code, material), hidden.float() @ material.metric
    for i in range(0, len(x), 37):
        rows = code.senses.rows(int(material.keys[i]))
        row = min(rows, key=lambda r: float((x[i] - code.senses.centroids[r]).norm()))
        left, wanted = x[i] - code.senses.centroids[row], [row]
        for table in code.rest:
            wanted.append(int((left - table).norm(dim=1).argmin()))
            left = left - table[wanted[-1]]
        assert codes[i].tolist() == wanted


def test_after_a_guess_the_rest_is_of_what_the_guess_leaves(material):
    code, (hidden, below) = make_code("context+1", material), whole(material)
    left = hidden.float() @ material.metric - (below.float() @ code.line[:D] + code.line[D])
    wanted = torch.stack([(row - code.rest[0]).norm(dim=1).argmin() for row in left])
    assert float((encode_text(code, material)[:, 0] == wanted).float().mean()) > 0.99  # but for ties of rounding
    torch.testing.assert_close(left_of_sample(code, material), left[material.sample], rtol=1e-4, atol=1e-4)


def test_a_random_sense_is_of_the_token_and_drawn_anew_in_each_shard(material):
    code, x = make_code("random_sense", material), whole(material)[0].float() @ material.metric
    rows = encode_text(code, material)[:, 0]
    assert torch.equal(rows // 3, material.keys.long())  # three senses each, token by token
    assert not torch.equal(rows, encode_text(code._replace(drawn=code.drawn + 5), material)[:, 0])
    same = torch.stack([rows[:250] % 3, rows[250:500] % 3])  # of the first two shards
    assert 0.2 < float((same[0] == same[1]).float().mean()) < 0.5
    nearest = encode_states(code._replace(drawn=None), x, material.keys, whole(material)[1])[:, 0]
    assert 0.2 < float((rows == nearest).float().mean()) < 0.5


@pytest.mark.parametrize("codec", KINDS)
def test_the_same_states_give_the_same_codes(material, codec):
    code, again = make_code(codec, material), make_code(codec, material)
    assert all(map(torch.equal, code.tables, again.tables))
    assert torch.equal(encode_text(code, material), encode_text(again, material))


def test_states_are_read_back_in_their_own_space(material):
    """With a row for each state nothing is lost but what rounding costs."""
    hidden = whole(material)[0].float()
    code = Code(rest=((hidden @ material.metric),))
    torch.testing.assert_close(read(code, material), hidden, rtol=1e-3, atol=1e-3)
