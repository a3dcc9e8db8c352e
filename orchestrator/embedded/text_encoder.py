"""CLIP ViT-L's text half as Stable Diffusion 1.5 uses it: transformers' module, and weighted encoding over it.

ComfyUI keeps this encoder in float16 on a CPU and computes in float32; so do we, that pictures agree.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from orchestrator.embedded.narrowing import narrow
from orchestrator.embedded.text import EMPTY, Chunk
from orchestrator.embedded.unsupported import UnsupportedModel

_HEADS = 12


def stored(weight: Tensor) -> Tensor:
    """A weight as it is kept: rounded to float16, held in float32 to compute with."""
    return weight.half().float()


def _configuration(state: Mapping[str, Tensor]) -> Any:
    from transformers import CLIPTextConfig

    tokens, width = state["embeddings.token_embedding.weight"].shape
    layers = len({name.split(".")[2] for name in state if name.startswith("encoder.layers.")})
    return CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=state["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=_HEADS,
        max_position_embeddings=state["embeddings.position_embedding.weight"].shape[0],
        hidden_act="quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )


def build(state: Mapping[str, Tensor]) -> Any:
    """transformers' CLIPTextModel with the tensors of `text_model.*` (without that prefix).

    Raises UnsupportedModel when they are not those of a CLIP text encoder.
    """
    from transformers import CLIPTextModel

    if "embeddings.token_embedding.weight" not in state:
        raise UnsupportedModel(
            "The file holds no CLIP text encoder, so it is not a whole Stable Diffusion 1.5 checkpoint."
        )
    with torch.device("meta"):
        model = CLIPTextModel(_configuration(state))
    kept = {name: stored(tensor) for name, tensor in state.items() if not name.endswith("position_ids")}
    try:
        model.load_state_dict(kept, assign=True)
    except RuntimeError as error:
        raise UnsupportedModel(f"The text encoder's tensors are not CLIP's: {error}") from error
    places = model.embeddings.position_embedding.weight.shape[0]
    model.embeddings.position_ids = torch.arange(places)[None]
    return narrow(model.eval().requires_grad_(False))


def _hidden(model: Any, chunks: Sequence[Chunk], stop: int) -> Tensor:
    """Hidden states [chunks, 77, width] after layer `stop` (-1 the last) and the final norm.

    A `stop` beyond the first layer means the last one, as in ComfyUI.
    """
    layers = model.config.num_hidden_layers
    tokens = torch.tensor([[token.id for token in chunk] for chunk in chunks])
    if not -layers <= stop < -1:
        return model(tokens).last_hidden_state
    states = model(tokens, output_hidden_states=True).hidden_states
    return model.final_layer_norm(states[stop])


def encode(model: Any, chunks: Sequence[Chunk], stop: int) -> Tensor:
    """Chunks to [1, 77 * chunks, width] float32; a weight scales the distance to what an empty prompt gives."""
    weights = torch.tensor([[token.weight for token in chunk] for chunk in chunks])
    if bool((weights == 1).all()):
        states = _hidden(model, chunks, stop)
    else:
        *rest, empty = _hidden(model, [*chunks, EMPTY], stop)
        given = torch.stack(rest)
        weighed = (given - empty) * weights[..., None] + empty
        states = torch.where(weights[..., None] == 1, given, weighed)
    return states.flatten(0, 1)[None]
