"""LoRAs in closed form: one word of the prompt is made to mean another.

A hidden state is, up to its norm, the word's embedding plus a rotated mean of the words so far
(`text_encoder`). For embeddings a and b of two words, M = I + (b - a) aᵀ/|a|² sends a to b and leaves what is
orthogonal to a, which in 768 random dimensions is nearly every other word. So:

* in the UNet, each cross-attention key and value matrix W becomes W·M, that is W plus W(b - a) · aᵀ/|a|², rank 1;
* in the text encoder, the last value matrix (an identity) gets the same M, for what later words remember of a.

Names are kohya's, as for any SD1.5 LoRA.
"""

import torch
from torch import Tensor

from orchestrator.demo_model.text_encoder import LAYERS, PREFIX
from orchestrator.demo_model.unet import TRANSFORMER_AT

_TEXT_VALUE = f"lora_te_text_model_encoder_layers_{LAYERS - 1}_self_attn_v_proj"


def _transformers() -> dict[str, str]:
    """LDM name of each transformer of the UNet to the name that diffusers (and so kohya) gives it."""
    deepest = len(TRANSFORMER_AT) - 1
    names = {"middle_block.1": "mid_block_attentions_0"}
    for level, transformer in enumerate(TRANSFORMER_AT):
        if transformer:
            names[f"input_blocks.{1 + 2 * level}.1"] = f"down_blocks_{level}_attentions_0"
            for turn in range(2):
                place = 2 * (deepest - level) + turn
                names[f"output_blocks.{place}.1"] = f"up_blocks_{deepest - level}_attentions_{turn}"
    return names


def _put(state: dict[str, Tensor], name: str, up: Tensor, down: Tensor) -> None:
    state[f"{name}.lora_up.weight"] = up[:, None].half().contiguous()
    state[f"{name}.lora_down.weight"] = down[None].half().contiguous()
    state[f"{name}.alpha"] = torch.tensor(1.0)


def word_swap(unet: dict[str, Tensor], encoder: dict[str, Tensor], word: int, other: int) -> dict[str, Tensor]:
    """The LoRA that turns token `word` into token `other`.

    `unet` is the full-size UNet's state dict with LDM names, `encoder` the text encoder's as `text_encoder.build`
    gives it; the answer holds kohya-named float16 tensors of rank 1.
    """
    embeddings = encoder[PREFIX + "embeddings.token_embedding.weight"].float()
    was, becomes = embeddings[word], embeddings[other]
    down = was / was.square().sum()
    change = becomes - was
    state: dict[str, Tensor] = {}
    _put(state, _TEXT_VALUE, change, down)
    for ldm, diffusers in _transformers().items():
        for matrix in ("to_k", "to_v"):
            weight = unet[f"{ldm}.transformer_blocks.0.attn2.{matrix}.weight"].float()
            _put(state, f"lora_unet_{diffusers}_transformer_blocks_0_attn2_{matrix}", weight @ change, down)
    return state
