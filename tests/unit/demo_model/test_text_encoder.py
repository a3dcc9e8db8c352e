"""The closed form that training uses against the same weights in a stock CLIP text model."""

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from orchestrator.demo_model.text_encoder import PREFIX, Encoder, build
from orchestrator.embedded.tokenizer import clip_tokenizer


@pytest.fixture(scope="module")
def stock() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        projection_dim=768,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    model = CLIPTextModel(config)
    # transformers has named the tower with and without "text_model." over time; take whichever this one has.
    own = model.state_dict()
    head = "text_model." if any(name.startswith("text_model.") for name in own) else ""
    missing = model.load_state_dict(
        {head + name.removeprefix(PREFIX): value for name, value in build().items()}, strict=False
    )
    assert not missing.unexpected_keys
    assert not [name for name in missing.missing_keys if "position_ids" not in name]
    return model.eval()


@pytest.mark.parametrize("text", ["", "a red heart", "a blue ring on a white background, pixel art"])
def test_closed_form_equals_a_stock_clip_text_model(stock: CLIPTextModel, text: str) -> None:
    ids = clip_tokenizer()(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = stock(ids).last_hidden_state
    torch.testing.assert_close(Encoder()(ids), expected, atol=2e-4, rtol=0)


def test_word_tokens_are_those_that_openai_published() -> None:
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49408
    assert tokenizer("a red heart").input_ids == [49406, 320, 736, 1936, 49407]
