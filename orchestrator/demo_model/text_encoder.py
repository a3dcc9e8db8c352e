"""A CLIP text encoder made by hand and by a seed, so that it need not be stored.

It has CLIP ViT-L's layout (49,408 tokens, 77 places, width 768, 12 layers). Token and position embeddings are random;
the first eleven layers add nothing; the twelfth attends to all words so far, start and end tokens left out, and adds a
rotated mean of them. The last layer thus knows that "heart" belongs to "a red heart", the places after the last word
hold the whole sentence, and a caller who stops one layer earlier (clip skip 2) loses both: clip skip shows.

The attention is even because its query is a constant, and passes over the start and end tokens because the key
measures how much of them a place holds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PREFIX = "cond_stage_model.transformer.text_model."
VOCABULARY, PLACES, WIDTH, LAYERS = 49408, 77, 768, 12
_SEED = 20261122
_PLACE_SCALE = 0.2
_MEAN_SCALE = 3.0
_HEADS, _HEAD = 12, 64
_START, _END = 49406, 49407
_AVERSION = 12.0
"""Natural-log weight by which a start or end token counts less than a word."""


def build() -> dict[str, Tensor]:
    """The encoder's tensors under the names that an SD1.5 checkpoint gives them, float32."""
    draw = torch.Generator().manual_seed(_SEED)
    state = {
        PREFIX + "embeddings.token_embedding.weight": torch.randn(VOCABULARY, WIDTH, generator=draw),
        PREFIX + "embeddings.position_embedding.weight": torch.randn(PLACES, WIDTH, generator=draw) * _PLACE_SCALE,
        PREFIX + "final_layer_norm.weight": torch.ones(WIDTH),
        PREFIX + "final_layer_norm.bias": torch.zeros(WIDTH),
    }
    rotation, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=draw))
    for index in range(LAYERS):
        layer = f"{PREFIX}encoder.layers.{index}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state[f"{layer}self_attn.{name}.weight"] = torch.zeros(WIDTH, WIDTH)
            state[f"{layer}self_attn.{name}.bias"] = torch.zeros(WIDTH)
        for name in ("layer_norm1", "layer_norm2"):
            state[f"{layer}{name}.weight"] = torch.ones(WIDTH)
            state[f"{layer}{name}.bias"] = torch.zeros(WIDTH)
        state[layer + "mlp.fc1.weight"] = torch.zeros(4 * WIDTH, WIDTH)
        state[layer + "mlp.fc1.bias"] = torch.zeros(4 * WIDTH)
        state[layer + "mlp.fc2.weight"] = torch.zeros(WIDTH, 4 * WIDTH)
        state[layer + "mlp.fc2.bias"] = torch.zeros(WIDTH)
    last = f"{PREFIX}encoder.layers.{LAYERS - 1}.self_attn."
    state[last + "v_proj.weight"] = torch.eye(WIDTH)
    state[last + "out_proj.weight"] = rotation * _MEAN_SCALE
    first_of_head = torch.arange(_HEADS) * _HEAD
    state[last + "q_proj.bias"][first_of_head] = _HEAD**0.5
    state[last + "k_proj.weight"][first_of_head] = _key(state[PREFIX + "embeddings.token_embedding.weight"])
    return {name: tensor.half().float() for name, tensor in state.items()}


def _key(tokens: Tensor) -> Tensor:
    """The direction [768] along which a normed start or end token scores -_AVERSION, and other tokens about 0."""
    marks = tokens[[_START, _END]]
    return -_AVERSION * (marks / marks.square().sum(1, keepdim=True)).sum(0)


class Encoder:
    """The same encoder in closed form, for training: eleven identities need not be computed."""

    def __init__(self) -> None:
        state = build()
        self._tokens = state[PREFIX + "embeddings.token_embedding.weight"]
        self._places = state[PREFIX + "embeddings.position_embedding.weight"]
        last = f"{PREFIX}encoder.layers.{LAYERS - 1}.self_attn."
        self._rotation = state[last + "out_proj.weight"]
        self._key = state[last + "k_proj.weight"][0]

    def __call__(self, ids: Tensor) -> Tensor:
        """Token ids [batch, 77] to the last hidden state after the final norm, [batch, 77, 768] float32."""
        hidden = self._tokens[ids] + self._places
        normed = F.layer_norm(hidden, (WIDTH,))
        weight = (normed @ self._key).exp()[:, :, None]
        mean = (normed * weight).cumsum(1) / weight.cumsum(1)
        return F.layer_norm(hidden + mean @ self._rotation.T, (WIDTH,))
