"""Prompt syntax and chunks."""

import pytest

from orchestrator.embedded.text import EMPTY, END, PLACES, START, chunks, pieces
from orchestrator.embedded.tokenizer import clip_tokenizer


def letters(text: str) -> list[int]:
    """A token for every word: its length."""
    return [len(word) for word in text.split()]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (big) cat", [("a ", 1.0), ("big", 1.1), (" cat", 1.0)]),
        ("(big:1.5)", [("big", 1.5)]),
        ("((big))", [("big", pytest.approx(1.21))]),
        ("((big:1.3))", [("big", 1.3)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 2.0), (" c", 0.5)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        (r"\(plain\)", [("(plain)", 1.0)]),
        (r"(with \( inside:1.2)", [("with ( inside", 1.2)]),
        ("open (end", [("open ", 1.0), ("(end", 1.0)]),
        ("stray) (not big)", [("stray) (not big)", 1.0)]),
        ("[a]", [("[a]", 1.0)]),
        ("", []),
    ],
)
def test_a_prompt_is_cut_into_runs_of_one_weight_as_comfyui_cuts_it(
    prompt: str, expected: list[tuple[str, float]]
) -> None:
    assert pieces(prompt) == expected


def test_an_empty_prompt_is_one_chunk_of_padding() -> None:
    assert chunks("", letters) == [EMPTY]
    assert len(EMPTY) == PLACES


def test_a_chunk_begins_with_start_and_is_padded_with_end() -> None:
    (chunk,) = chunks("one (three:2)", letters)
    assert [(token.id, token.weight) for token in chunk[:4]] == [(START, 1.0), (3, 1.0), (5, 2.0), (END, 1.0)]
    assert {(token.id, token.weight) for token in chunk[3:]} == {(END, 1.0)}


def test_a_long_run_is_broken_after_75_tokens() -> None:
    first, second = chunks("ab " * 80, letters)
    assert [token.id for token in first] == [START, *[2] * 75, END]
    assert [token.id for token in second[:7]] == [START, *[2] * 5, END]


def test_a_short_run_that_no_longer_fits_moves_to_the_next_chunk_whole() -> None:
    first, second = chunks("ab " * 72 + "(one two three four:1.5)", letters)
    assert [token.id for token in first] == [START, *[2] * 72, *[END] * 4]
    assert [token.weight for token in second[1:5]] == [1.5] * 4


def test_a_prompt_of_exactly_75_tokens_needs_one_chunk() -> None:
    assert len(chunks("ab " * 75, letters)) == 1


def test_textual_inversion_is_left_out() -> None:
    (chunk,) = chunks("a cat embedding:thing", letters)
    assert [token.id for token in chunk[1:4]] == [1, 3, END]


@pytest.mark.parametrize(
    ("prompt", "same_as"),
    [
        ("embedding:thing a cat", "a cat"),
        ("a embedding:thing, b cat", "a , b cat"),
        ("embedding:one, embedding:two, bad hands", ", , bad hands"),
        ("(embedding:thing:1.2) a", " a"),
        ("a\nembedding:thing", "a"),
        ("embedding:", ""),
    ],
)
def test_only_the_name_of_a_textual_inversion_is_left_out(prompt: str, same_as: str) -> None:
    words = [token for token in chunks(prompt, letters)[0] if token.id not in (START, END)]
    assert [token.id for token in words] == [
        token.id for token in chunks(same_as, letters)[0] if token.id not in (START, END)
    ]


def test_the_tokenizer_knows_clips_vocabulary() -> None:
    assert clip_tokenizer()("a red heart")["input_ids"] == [START, 320, 736, 1936, END]
