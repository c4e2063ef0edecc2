from pathlib import Path

import pytest
from tiny.models import make_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dskd.benchmarks.chat_prompts import (
    LETTERS,
    chat_rows,
    choice_messages,
    end_of_turn,
    letter,
    paragraphs,
    render,
    shots,
    squad_example,
    squad_messages,
)
from dskd.errors import UserError

TEACHER = Path(__file__).parents[2] / "artifacts/teacher"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_tokenizer():
    """A token for each byte and each mark of a turn."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=marks, initial_alphabet=alphabet, show_progress=False, vocab_size=258)
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=marks[0], chat_template=TEMPLATE)


@pytest.fixture(scope="module", params=["bytes", "teacher"])
def chat(request):
    if request.param == "bytes":
        return byte_tokenizer()
    if not TEACHER.exists():
        pytest.skip("artifacts/teacher is not made")
    return AutoTokenizer.from_pretrained(TEACHER)


def choice(split, number, subject=None, choices=4):
    row = {"id": f"{split}-{number}", "question": f"Which is {number}?"}
    row |= {"choices": [f"thing {i}" for i in range(choices)], "answer": number % choices}
    return row | ({"subject": subject} if subject else {})


def span(number, passage, answers):
    row = {"id": f"q{number}", "title": "T", "context": f"Passage {passage} tells."}
    return row | {"question": f"What is {number}?", "answers": answers}


TRAIN = [choice("train", i) for i in range(40)]
TEST = [choice("test", i) for i in range(30)]
SQUAD = [span(i, i // 4, [f" Gold {i}", f"gold the {i}"] if i % 2 else []) for i in range(16)]
SQUAD.append(span(16, 99, ["alone"]))


def ids(rows):
    return [row["id"] for row in rows]


def test_shots_are_distinct_rows_of_the_pool():
    for row in TEST:
        found = shots(row, TRAIN, 5, 0)
        assert len(set(ids(found))) == 5 and all(other in TRAIN for other in found)
    drawn = {name for row in TEST for name in ids(shots(row, TRAIN, 5, 0))}
    assert len(drawn) > 30  # 150 draws from 40: they differ from item to item


def test_shots_by_value():
    """The draw is part of every score that is kept: a change of it must show."""
    assert ids(shots(TEST[0], TRAIN, 5, 0)) == ["train-9", "train-27", "train-28", "train-30", "train-38"]


def test_shots_are_drawn_evenly():
    counts = dict.fromkeys(ids(TRAIN), 0)
    for i in range(2000):
        for other in shots(choice("many", i), TRAIN, 5, 0):
            counts[other["id"]] += 1
    # 2000 · 5 / 40 = 250 each, standard deviation (2000 · 1/8 · 7/8)^½ = 14.8
    assert all(abs(count - 250) < 4 * 14.8 for count in counts.values())


def test_shots_are_fixed_by_seed_item_and_pool():
    found = shots(TEST[0], TRAIN, 5, 0)
    assert found == shots(TEST[0], TRAIN[::-1], 5, 0)  # the pool's order does not matter
    assert found[:2] == shots(TEST[0], TRAIN, 2, 0)
    assert found != shots(TEST[0], TRAIN, 5, 1)
    others = [row for row in TRAIN if row not in found]
    assert found == shots(TEST[0], found + others[::2], 5, 0)  # nor the rows that are not drawn


def test_shots_are_never_the_row_itself():
    for row in TRAIN:
        found = shots(row, TRAIN, len(TRAIN), 0)
        assert len(found) == len(TRAIN) - 1 and row["id"] not in ids(found)
    assert shots(TRAIN[0], TRAIN[:1], 5, 0) == [] and shots(TRAIN[0], [], 5, 0) == []


def test_shots_keep_the_subject_and_are_all_where_there_are_few():
    pool = [choice(f"{subject}-dev", i, subject) for subject in ("anatomy", "law") for i in range(5)]
    orders = set()
    for i in range(20):
        found = shots(choice("law-test", i, "law"), pool, 5, 0)
        assert sorted(ids(found)) == [f"law-dev-{i}" for i in range(5)]
        orders.add(tuple(ids(found)))
        assert shots(choice("law-test", i, "law"), pool, 9, 0) == found
    assert len(orders) > 10
    assert shots(choice("test", 0, "virology"), pool, 5, 0) == []


def test_choice_messages():
    row, example = choice("test", 5), choice("train", 2)
    first, answer, last = choice_messages(row, [example], LETTERS)
    instruction, _, question = first["content"].partition("\n\n")
    assert "letter" in instruction and instruction not in last["content"]
    assert question == "Question: Which is 2?\nA. thing 0\nB. thing 1\nC. thing 2\nD. thing 3\nAnswer:"
    assert answer == {"role": "assistant", "content": "C"}
    assert last == {"role": "user", "content": question.replace("is 2", "is 5")}
    (alone,) = choice_messages(row, [], LETTERS)
    assert alone == {"role": "user", "content": f"{instruction}\n\n{last['content']}"}


def test_choices_may_differ_in_number():
    first, answer, last = choice_messages(choice("test", 2, choices=3), [choice("train", 4, choices=5)], LETTERS)
    assert "\nE. thing 4\nAnswer:" in first["content"] and answer["content"] == "E"
    assert "\nC. thing 2\nAnswer:" in last["content"] and "D." not in last["content"]


def test_piqa_has_numbers_as_labels(chat):
    pool, rows = ([choice(split, i, choices=2) for i in range(9)] for split in ("train", "valid"))
    found = chat_rows("piqa", rows, pool, chat, 0)
    assert [row["answer"] for row in found] == [str(i % 2) for i in range(9)]
    assert all(row["labels"] == ["0", "1"] for row in found)
    assert "the number of the right choice" in found[0]["prompt"]
    assert "\n0. thing 0\n1. thing 1\nAnswer:<|im_end|>\n" in found[0]["prompt"] and "A." not in found[0]["prompt"]


def test_squad_example_is_another_question_on_the_passage():
    by_paragraph = paragraphs(SQUAD)
    for row in SQUAD[:-1]:
        example = squad_example(row, by_paragraph, 0)
        assert example["context"] == row["context"] and example["id"] != row["id"]
        assert example == squad_example(row, paragraphs(SQUAD[::-1]), 0)
    assert squad_example(SQUAD[-1], by_paragraph, 0) is None
    drawn = [[squad_example(row, by_paragraph, seed) for row in SQUAD] for seed in (0, 1)]
    assert drawn[0] != drawn[1]


def test_squad_messages():
    first, answer, last = squad_messages(SQUAD[0], SQUAD[1])
    instruction, passage, question = first["content"].split("\n\n")
    assert "No answer" in instruction and passage == "Passage: Passage 0 tells."
    assert question == "Question: What is 1?\nAnswer:" and answer["content"] == "Gold 1"
    assert last == {"role": "user", "content": "Question: What is 0?\nAnswer:"}
    assert squad_messages(SQUAD[0], SQUAD[2])[1] == {"role": "assistant", "content": "No answer"}
    (alone,) = squad_messages(SQUAD[16], None)
    assert alone["content"].split("\n\n")[1:] == ["Passage: Passage 99 tells.", "Question: What is 16?\nAnswer:"]


def test_rendered_prompt_ends_where_the_answer_begins(chat):
    prompt = render(choice_messages(TEST[0], TRAIN[:2], LETTERS), chat)
    assert prompt.endswith("\nAnswer:<|im_end|>\n<|im_start|>assistant\n")
    assert "<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nQuestion: Which is 0?" in prompt


def test_rendering_needs_a_chat_template():
    with pytest.raises(UserError, match="no chat template"):
        render(choice_messages(TEST[0], [], LETTERS), make_tokenizer())


CHAT_OF_TWO = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]


def with_template(template: str):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_with_a_date_gives_the_same_prompt_every_day():
    chat = with_template("{{ strftime_now('%d %b %Y') }}: " + TEMPLATE)
    assert render(CHAT_OF_TWO[:1], chat).startswith("26 Jul 2024: ")


def test_a_template_that_can_be_told_not_to_think_is_told():
    for name in ("enable_thinking", "thinking"):
        chat = with_template(TEMPLATE + "{% if " + name + " is defined and " + name + " is false %}now{% endif %}")
        assert render(CHAT_OF_TWO[:1], chat).endswith("assistant\nnow")
        chat = with_template(TEMPLATE + "{% if " + name + " is not defined or " + name + " %}<think>{% endif %}")
        assert render(CHAT_OF_TWO[:1], chat).endswith("assistant\n")


@pytest.mark.parametrize(
    "template, says",
    [
        (TEMPLATE + "<think>\n", "makes the model think before each answer"),
        ("{{ raise_exception('no turns of users here') }}", "fails .*no turns of users here"),
        ("{{ nothing.of.this }}", "fails .*UndefinedError"),
        ("{% for m in messages %}{% for part in m.content %}{{ part['text'] }}{% endfor %}{% endfor %}", "leaves out"),
        ("{{ messages[0].content }}", "leaves out what the assistant says"),
        ("{% if %}", "fails .*TemplateSyntaxError"),
    ],
)
def test_a_template_that_does_not_write_the_chat_is_an_error_of_one_line(template, says):
    with pytest.raises(UserError, match=f"the teacher's chat template {says}") as error:
        render(CHAT_OF_TWO, with_template(template))
    assert len(str(error.value).splitlines()) == 1 and "chat_template" in str(error.value)


def test_the_end_of_a_turn_is_what_the_template_writes_there(chat):
    start, end = chat.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert end_of_turn(chat, [start, end]) == end_of_turn(chat, [end]) == end
    bare = with_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    bare.eos_token = "<|im_end|>"
    assert end_of_turn(bare, [0, 1]) == bare.eos_token_id == 1  # the template writes none of them
    assert end_of_turn(bare, [7]) == 7


@pytest.mark.parametrize("label", "ABCDEFGHIJ01")
def test_the_label_is_one_token_without_a_space(chat, label):
    row = choice("test", 0, choices=10)
    labels = LETTERS if label.isalpha() else "01"
    example = row | {"id": "example", "answer": labels.index(label)}
    prompt = render(choice_messages(row, [example], labels), chat)

    def encode(text):
        return chat(text, add_special_tokens=False)["input_ids"]

    before, after = encode(prompt), encode(prompt + label)
    assert after[:-1] == before and letter(chat.decode(after[-1:])) == chat.decode(after[-1:]) == label
    # In the example's turn the same token stands at the same place: after the same header, before the end of turn.
    header = encode("<|im_start|>assistant\n")
    assert before[-len(header) :] == header
    turn = [*header, after[-1], *encode("<|im_end|>")]
    assert sum(before[i : i + len(turn)] == turn for i in range(len(before))) == 1


def test_chat_rows_are_fixed_whatever_else_is_asked(chat):
    for name, rows, pool in (("arc_challenge", TEST, TRAIN), ("squad_v2", SQUAD, SQUAD)):
        found = chat_rows(name, rows, pool, chat, 0)
        assert ids(found) == ids(rows)
        assert chat_rows(name, rows[::-3], pool, chat, 0) == found[::-3]
        assert chat_rows(name, rows, pool, chat, 0) == found
        other = chat_rows(name, rows, pool, chat, 1)  # SQuAD: 2/3 of 16 differ on average
        assert sum(a != b for a, b in zip(found, other)) > len(rows) / 4


def test_a_special_token_spelled_in_a_row_is_refused():
    row = choice("a", 1) | {"question": "What is <|im_end|>\nfor?"}
    with pytest.raises(
        UserError, match=r"^a row has '<\|im_end\|>' in its text, a special token of the teacher's"
    ) as error:
        render(choice_messages(row, [], "ABCD"), byte_tokenizer())
    assert "\n" not in str(error.value)


def test_chat_rows_of_choices(chat):
    found = chat_rows("arc_challenge", TEST, TRAIN, chat, 0)
    for row, item in zip(found, TEST):
        assert list(row) == ["id", "prompt", "labels", "answer"]
        assert row["prompt"] == render(choice_messages(item, shots(item, TRAIN, 5, 0), LETTERS), chat)
        assert row["prompt"].count("<|im_start|>assistant") == 6
        assert row["labels"] == list("ABCD") and row["answer"] == "ABCD"[item["answer"]]
    few = chat_rows("arc_challenge", TEST, TRAIN, chat, 0, shots=2)
    assert few[0]["prompt"].count("<|im_start|>assistant") == 3


def test_labels_that_the_tokenizer_changes_are_an_error():
    chat = byte_tokenizer()
    chat.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UserError, match="makes 'a' of the label 'A', so that no answer to arc_challenge"):
        chat_rows("arc_challenge", TEST, TRAIN, chat, 0)
    assert chat_rows("piqa", [choice("valid", 0, choices=2)], [choice("train", 1, choices=2)], chat, 0)


def test_chat_rows_of_squad(chat):
    found = chat_rows("squad_v2", SQUAD, SQUAD, chat, 0)
    for row, item in zip(found, SQUAD):
        assert list(row) == ["id", "prompt", "answers"] and row["answers"] == item["answers"]
        assert row["prompt"].count("<|im_start|>assistant") == (1 if item is SQUAD[-1] else 2)
    none = chat_rows("squad_v2", SQUAD, SQUAD, chat, 0, shots=0)
    assert all(row["prompt"].count("<|im_start|>assistant") == 1 for row in none)


def test_letter_is_exact():
    assert letter(" A") == letter("A\n") == "A" and letter("0") == "0"
    assert letter("A.") != "A" and letter("a") != "A" and letter("") == ""
