"""LoRA tags in a prompt."""

import contextlib
import time

import pytest

from orchestrator.errors import InvalidParameters
from orchestrator.widgets.prompt import MOST_LORAS, LoraTag, extract_loras, without_tags


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:87153>", LoraTag("87153", 1.0, 1.0)),
        ("<lora:87153:0.8>", LoraTag("87153", 0.8, 0.8)),
        ("<lora:87153:-1.5>", LoraTag("87153", -1.5, -1.5)),
        ("<lora:87153:0.8:0.4>", LoraTag("87153", 0.8, 0.4)),
        ("<lora:87153:te=0.5>", LoraTag("87153", 0.5, 0.5)),
        ("<lora:87153:unet=0.5>", LoraTag("87153", 1.0, 0.5)),
        ("<lora:87153:0.3:unet=0.5:te=.25>", LoraTag("87153", 0.25, 0.5)),
        ("<lora:demo-red-is-blue:1>", LoraTag("demo-red-is-blue", 1.0, 1.0)),
        ("<lyco:87153:0.8>", LoraTag("87153", 0.8, 0.8)),
        ("<LoRA: 87153 : 0.8 >", LoraTag("87153", 0.8, 0.8)),
        ("<lora:add detail v1.2:0>", LoraTag("add detail v1.2", 0.0, 0.0)),
    ],
)
def test_a_tag_is_read_and_leaves_the_text(tag: str, expected: LoraTag) -> None:
    assert extract_loras(f"a red {tag}heart") == ("a red heart", (expected,))


def test_tags_keep_their_order_and_the_same_lora_may_come_twice() -> None:
    text, tags = extract_loras("<lora:2:0.5>a <lora:1> b<lora:2:0.3>")
    assert text == "a  b"
    assert [(tag.name, tag.unet) for tag in tags] == [("2", 0.5), ("1", 1.0), ("2", 0.3)]


@pytest.mark.parametrize(
    "text",
    [
        "1 < 2 > 1",
        "<lora>",
        "a < lorax:1>",
        "(a:1.2) [b] <3",
        "",
        "<:lora:>",
        "<lora:>",
        "<lora:1:0.8",
        "a <lora:1 b",
        "<hypernet:a",
        "a # not <lora:1> now\n#<b:c>",
        "<|endoftext|>",
    ],
)
def test_other_text_stays_to_the_letter(text: str) -> None:
    assert extract_loras(text) == (text, ())


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("<lora: :0.5>", "name is empty"),
        ("<lora:1:>", "not a number"),
        ("<lora:1:high>", "not a number"),
        ("<lora:1:nan>", "not a number"),
        ("<lora:1:inf>", "not a number"),
        ("<lora:1:1_0>", "not a number"),
        ("<lora:1:unet=>", "not a number"),
        ("<lora:1:1000>", "from -100 to 100"),
        ("<lora:1:1:1:8>", "only two weights"),
        ("<lora:1:dyn=8>", "only two weights"),
        ("<lora:1:0.8:lbw=MIDD>", "only two weights"),
        ("<lora:../secret>", "must not contain"),
        ("<lora:a/b>", "must not contain"),
        ("<lora:a\\b>", "must not contain"),
        ("<lora:a\x00b>", "must not contain"),
        ("<lora:" + "a" * 300 + ">", "longer than"),
        ("<lora:1, a cat <lora:two>", "not a number"),
        ("<hypernet:a:1>", "not supported"),
    ],
)
def test_a_tag_that_cannot_be_used_is_refused_and_quoted(tag: str, complaint: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        extract_loras(f"a heart {tag}")
    [fault] = refused.value.fields
    assert fault.field == "prompt"
    assert complaint in fault.message
    assert tag[:12].replace("\x00", "\N{REPLACEMENT CHARACTER}") in fault.message


@pytest.mark.parametrize("tag", ["<b:c>", "<lorax:1:2>", "<lora2:a b>", "<B:<c>", "<größe:\n1>"])
def test_a_tag_of_another_word_leaves_the_prompt_unread_but_not_the_negative_one(tag: str) -> None:
    assert extract_loras(f"a {tag}heart <lora:1>") == ("a heart ", (LoraTag("1", 1.0, 1.0),))
    assert without_tags(f"a {tag}heart <lora:1>") == f"a {tag}heart "


def test_comments_end_with_their_line_and_stay() -> None:
    text, tags = extract_loras("a # <lora:1>\n<lora:2> b <lora:c#:0.5> # <b:c> <lora:3>")
    assert text == "a # <lora:1>\n b  # <b:c> <lora:3>"
    assert [tag.name for tag in tags] == ["2", "c#"]


@pytest.mark.parametrize(
    "piece", ["<a:", "<", "< ", "<lora", "<lora:", "<lora:1>", "<b:c>", "a", "#", "# >", "<a:>", ">"]
)
def test_long_texts_of_pieces_of_tags_are_read_at_once(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    without_tags(text)
    with contextlib.suppress(InvalidParameters):
        extract_loras(text)
    assert time.process_time() - started < 2


def test_every_bad_tag_is_named() -> None:
    with pytest.raises(InvalidParameters) as refused:
        extract_loras("<lora: > <lora:1> <lora:2:x>", "words")
    assert [fault.field for fault in refused.value.fields] == ["words", "words"]


def test_more_loras_than_a_graph_should_hold_are_refused() -> None:
    assert len(extract_loras("<lora:1>" * MOST_LORAS)[1]) == MOST_LORAS
    with pytest.raises(InvalidParameters) as refused:
        extract_loras("<lora:1>" * (MOST_LORAS + 1))
    assert "more than 32" in refused.value.fields[0].message


def test_a_prompt_without_loras_loses_its_closed_tags_unread() -> None:
    assert without_tags("bad <lora:1:x> worse <lora:2") == "bad  worse <lora:2"


@pytest.mark.parametrize(
    ("tag", "weights"),
    [
        ("<lora:urn:air:sd1:lora:civitai:82098@87153>", (1.0, 1.0)),
        ("<lora:urn:air:sd1:lora:civitai:82098@87153:0.8>", (0.8, 0.8)),
        ("<lora: urn:air:sd1:lora:civitai:82098@87153 :0.8:0.5>", (0.8, 0.5)),
    ],
)
def test_an_air_is_one_name_with_its_colons(tag: str, weights: tuple[float, float]) -> None:
    text, (lora,) = extract_loras(f"a cat {tag}")
    assert text == "a cat "
    assert lora.name == "urn:air:sd1:lora:civitai:82098@87153"
    assert (lora.text_encoder, lora.unet) == weights
