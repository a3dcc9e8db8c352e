"""The text encoder, against the demo model's closed form."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from orchestrator.demo_model.text_encoder import Encoder
from orchestrator.embedded.text import EMPTY, Chunk, Token, chunks
from orchestrator.embedded.text_encoder import build, encode
from orchestrator.embedded.tokenizer import clip_tokenizer
from orchestrator.embedded.unsupported import UnsupportedModel
from tests.unit.embedded.conftest import one_layer_text_encoder

TOKENIZER = clip_tokenizer()


def cut(prompt: str) -> list[Chunk]:
    return chunks(prompt, lambda text: list(TOKENIZER(text)["input_ids"][1:-1]))


closed_form = functools.cache(Encoder)


def expected(chunk: Chunk) -> Tensor:
    return closed_form()(torch.tensor([[token.id for token in chunk]]))[0]


@pytest.fixture(scope="module")
def model() -> Any:
    return build(one_layer_text_encoder())


@torch.no_grad()
def test_a_plain_prompt_is_the_last_hidden_state(model: Any) -> None:
    (chunk,) = cut("a red heart")
    assert torch.allclose(encode(model, [chunk], -1)[0], expected(chunk), atol=1e-4)


@torch.no_grad()
def test_a_weight_scales_the_distance_to_the_empty_prompt(model: Any) -> None:
    (chunk,) = cut("a (red:1.5) heart")
    plain = tuple(Token(token.id) for token in chunk)
    states, empty = expected(plain), expected(EMPTY)
    given = encode(model, [chunk], -1)[0]
    assert torch.allclose(given[2], empty[2] + 1.5 * (states[2] - empty[2]), atol=1e-4)
    assert torch.allclose(given[[0, 1, 3]], states[[0, 1, 3]], atol=1e-4)


@torch.no_grad()
def test_chunks_follow_one_another(model: Any) -> None:
    long = cut("a red heart " * 30)
    given = encode(model, long, -1)
    assert given.shape == (1, 77 * 2, 768)
    assert torch.allclose(given[0, 77:], expected(long[1]), atol=1e-4)


@torch.no_grad()
def test_a_stop_before_the_first_layer_means_the_last_one(model: Any) -> None:
    chunk = cut("a red heart")
    assert torch.equal(encode(model, chunk, -2), encode(model, chunk, -1))


@torch.no_grad()
def test_an_earlier_stop_gives_that_layers_state_with_the_final_norm() -> None:
    state = one_layer_text_encoder()
    once = build(state)
    twice = state | {name.replace("layers.0.", "layers.1."): t for name, t in state.items() if "layers.0." in name}
    deeper, chunk = build(twice), cut("a red heart")
    assert torch.allclose(encode(deeper, chunk, -2), encode(once, chunk, -1), atol=1e-4)
    assert not torch.allclose(encode(deeper, chunk, -1), encode(once, chunk, -1), atol=1e-2)


def test_weights_are_kept_as_half_precision_keeps_them() -> None:
    state = dict(one_layer_text_encoder())
    state["final_layer_norm.weight"] = state["final_layer_norm.weight"] + 1e-5
    assert torch.equal(build(state).final_layer_norm.weight, torch.ones(768))


def test_a_file_without_a_text_encoder_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="no CLIP"):
        build({})
