"""From what callers send to a complete set of values."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidParameters
from orchestrator.widgets.prompt import MOST_PARTS, LoraTag
from orchestrator.widgets.samplers import Sampler
from orchestrator.widgets.values import Checked
from tests.unit.widgets.drawing import definition, make_widget

WIDGET = make_widget()
ENOUGH = {"image": "https://example.com/a.png", "prompt": "a heart", "seed": 5}


HUGE = pytest.param(10**5000, id="huge")


def check(**given: object) -> Checked:
    return WIDGET.check(ENOUGH | given)


def complaints(**given: object) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as refused:
        check(**given)
    return {fault.field: fault.message for fault in refused.value.fields}


def test_what_is_left_out_has_its_default() -> None:
    values = check().values
    assert values.checkpoint == values.text("model") == "64094"
    assert values.text("negative_prompt") == "bad"
    assert values.integer("steps") == 25
    assert values.number("cfg_scale") == 7.0
    assert values.sampler("sampler") == Sampler("DPM++ 2M Karras", "dpmpp_2m", "karras")
    assert values.loras == ()
    assert "dither" not in values


@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_string_and_null_mean_the_default(nothing: object) -> None:
    given = {name: nothing for name in WIDGET.definition.parameters if name not in ("image", "prompt", "seed")}
    assert check(**given) == check()


@pytest.mark.parametrize("blanks", [" ", "\n"])
def test_blanks_are_no_number_but_they_are_text(blanks: str) -> None:
    values = check(steps=blanks, negative_prompt=blanks).values
    assert values.integer("steps") == 25
    assert values.text("negative_prompt") == blanks


@pytest.mark.parametrize("raw", [30, 30.0, "30", " 30 ", "30.0", "3e1", "+30"])
def test_a_whole_number_is_taken_in_every_form(raw: object) -> None:
    steps = check(steps=raw).values.integer("steps")
    assert steps == 30
    assert type(steps) is int


@pytest.mark.parametrize("raw", [6, 6.0, "6", " 6.0 ", "0.6e1"])
def test_a_number_is_taken_in_every_form(raw: object) -> None:
    assert check(cfg_scale=raw).values.number("cfg_scale") == 6.0


@pytest.mark.parametrize(("raw", "value"), [(True, 1), (False, 0), ("true", 1), ("False", 0), (1, 1), ("0", 0)])
def test_truth_is_a_number_where_the_number_is_0_or_1(raw: object, value: int) -> None:
    assert check(invert=raw).values.integer("invert") == value


@pytest.mark.parametrize(
    "raw",
    [0, 151, 25.5, "25.5", "many", math.nan, math.inf, "nan", "1_0", "٢٥", True, [25], {}, b"25", HUGE, "9" * 99],
)
def test_what_is_no_whole_number_in_range_is_refused_with_the_range(raw: object) -> None:
    message = complaints(steps=raw)["steps"]
    assert message.startswith("must be a whole number from 1 to 150; got ")
    assert len(message) < 130


@pytest.mark.parametrize("raw", [-0.1, 30.5, "x", math.nan, -math.inf, "inf", "1e999", True, [], HUGE])
def test_what_is_no_number_in_range_is_refused_with_the_range(raw: object) -> None:
    assert complaints(cfg_scale=raw)["cfg_scale"].startswith("must be a number from 0.0 to 30.0; got ")


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(InvalidParameters) as refused:
        WIDGET.check({"prompt": "<lora: > and <lora:1:x>", "steps": "many", "cfg_scale": 99, "sampler": "Eular"})
    assert [fault.field for fault in refused.value.fields] == [
        "image",
        "prompt",
        "prompt",
        "steps",
        "cfg_scale",
        "sampler",
    ]
    assert refused.value.detail == "These parameters cannot be used: image, prompt, steps, cfg_scale, sampler"


@pytest.mark.parametrize(("raw", "says"), [("", "is empty"), (None, "is required")])
def test_what_is_required_and_has_no_default_is_asked_for(raw: object, says: str) -> None:
    assert complaints(image=raw, prompt=raw) == {"image": says, "prompt": says}


def test_unknown_keys_are_set_aside_in_order_and_names_match_exactly() -> None:
    checked = WIDGET.check({"widget_run_id": 1, **ENOUGH, "Steps": 3, "": 4})
    assert checked.ignored == ("widget_run_id", "Steps", "")
    assert checked.values.integer("steps") == 25


@pytest.mark.parametrize(
    ("raw", "name"), [(64094, "64094"), (64094.0, "64094"), (" 64094 ", "64094"), ("demo", "demo")]
)
def test_a_model_is_a_number_or_a_name(raw: object, name: str) -> None:
    assert check(model=raw).values.checkpoint == name


@pytest.mark.parametrize("raw", [True, 1.5, math.nan, "../x", "a/b", "a\\b", "a\nb", "x" * 201, ["64094"]])
def test_a_model_that_is_neither_is_refused(raw: object) -> None:
    assert "must be a Civitai model version id" in complaints(model=raw)["model"]


@pytest.mark.parametrize("raw", ["https://example.com/a.png", "  aGVsbG8=", b"\x89PNG"])
def test_a_picture_is_passed_through_untouched(raw: str | bytes) -> None:
    assert check(image=raw).values.picture("image") == raw


@pytest.mark.parametrize("raw", [5, {"url": "x"}, True])
def test_a_picture_that_is_neither_text_nor_bytes_is_refused(raw: object) -> None:
    assert "must be a picture" in complaints(image=raw)["image"]


def test_loras_leave_the_prompt_and_the_negative_prompt_but_only_the_prompts_count() -> None:
    values = check(prompt="a <lora:7:0.5>heart", negative_prompt="bad<lora:8:x>").values
    assert values.text("prompt") == "a heart"
    assert values.text("negative_prompt") == "bad"
    assert values.loras == (LoraTag("7", 0.5, 0.5),)


def test_more_parts_than_a_run_should_weigh_are_refused_in_the_prompt_alone() -> None:
    most = " AND ".join(["a heart"] * MOST_PARTS)
    assert check(prompt=most, negative_prompt=f"{most} AND bad").values.text("prompt") == most
    assert complaints(prompt=f"{most} AND another") == {"prompt": "has more than 32 parts joined by AND"}
    assert check(prompt="SAND AND" + "LAND " * 40)


def test_a_lora_tag_is_refused_where_no_lora_can_be_loaded() -> None:
    without: dict[str, Any] = definition()
    del without["loras"]
    with pytest.raises(InvalidParameters) as refused:
        make_widget(without).check(ENOUGH | {"prompt": "a <lora:7>"})
    assert "takes no LoRAs" in refused.value.fields[0].message


def test_a_long_prompt_is_taken_and_an_endless_one_is_not() -> None:
    long = "heart, " * 2800
    assert check(prompt=long).values.text("prompt") == long
    assert complaints(prompt="x" * 20_001)["prompt"] == "must be at most 20000 characters long; got 20001"


def test_text_that_came_as_bytes_is_text_and_no_longer_than_other_text() -> None:
    assert check(prompt="a 💙".encode(), negative_prompt="红".encode() * 20_000).values.text("prompt") == "a 💙"
    for long, length in (("红" * 50_000, "more"), ("😀" * 20_001, "20001"), ("x" * 20_001, "20001")):
        given = long.encode()
        said = f"must be at most 20000 characters long; got {length}"
        assert complaints(prompt=given, negative_prompt=given) == {"prompt": said, "negative_prompt": said}


def test_a_long_string_where_something_else_is_meant_is_quoted() -> None:
    said = complaints(steps="红".encode() * 100_000, sampler=b"\x89PNG")
    assert said["steps"] == f'must be a whole number from 1 to 150; got "{"红" * 60}…"'
    assert said["sampler"] == "must be the name of a sampler; got a file"


def test_text_that_no_encoding_can_carry_is_refused() -> None:
    assert "surrogate" in complaints(prompt="a \ud83d heart")["prompt"]
    assert check(prompt="a 💙").values.text("prompt") == "a 💙"


@pytest.mark.parametrize("raw", [["a"], {}, True, b"\x89PNG", b"\x89PNG" * 100_000])
def test_a_prompt_that_is_no_text_is_refused(raw: object) -> None:
    assert "must be text" in complaints(prompt=raw)["prompt"]


@pytest.mark.parametrize("raw", [-1, "-1", -1.0, "", None])
def test_a_random_seed_is_drawn_and_settled(raw: object) -> None:
    checked = WIDGET.check(ENOUGH | {"seed": raw}, random.Random(3))
    assert checked.values.seed == checked.values.integer("seed") == random.Random(3).randrange(2**32 - 1)


class Highest(random.Random):
    """Always draws the highest number that it may."""

    def getrandbits(self, bits: int, /) -> int:
        return (1 << bits) - 2


def test_the_highest_random_seed_is_a1111s() -> None:
    assert WIDGET.check(ENOUGH | {"seed": -1}, Highest()).values.seed == 2**32 - 2


def test_without_randomness_handed_in_seeds_differ() -> None:
    assert len({WIDGET.check(ENOUGH | {"seed": -1}).values.seed for _ in range(5)}) > 1


@pytest.mark.parametrize(("raw", "seed"), [(0, 0), (2**64 - 1, 2**64 - 1), (str(2**64 - 1), 2**64 - 1), ("7", 7)])
def test_a_given_seed_is_kept_exactly(raw: object, seed: int) -> None:
    assert check(seed=raw).values.seed == seed


@pytest.mark.parametrize("raw", [-2, 2**64, 1.5, "x", 1.8446744073709552e19])
def test_a_seed_out_of_range_is_refused(raw: object) -> None:
    assert complaints(seed=raw)["seed"].startswith("must be a whole number from -1 to 18446744073709551615; got ")


def test_an_unknown_sampler_is_refused_with_the_nearest() -> None:
    assert '"DPM++ 2M Karras"' in complaints(sampler="DPM++ 2M Karas")["sampler"]
    assert "must be the name of a sampler" in complaints(sampler=3)["sampler"]


def test_a_value_is_not_handed_out_as_another_type() -> None:
    with pytest.raises(TypeError):
        check().values.text("steps")
    with pytest.raises(KeyError):
        check().values.integer("dither")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)  # the machine may be busy with other work
@given(st.dictionaries(st.sampled_from(sorted(WIDGET.definition.parameters)) | st.text(max_size=5), json_values))
def test_whatever_is_sent_is_settled_or_refused_by_name(raw: dict[str, object]) -> None:
    try:
        values = WIDGET.check(raw).values
    except InvalidParameters as refused:
        fields = refused.fields
    else:
        assert 1 <= values.integer("steps") <= 150
        assert values.seed in range(2**64)
        return
    assert fields
    assert {fault.field for fault in fields} <= set(WIDGET.definition.parameters)
    assert all(len(fault.message) < 400 for fault in fields)
