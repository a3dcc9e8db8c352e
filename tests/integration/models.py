"""Model files that are all header: enough for a service that never reads a tensor."""

import json
import struct
from pathlib import Path

UNET = "model.diffusion_model."
SD15 = {
    UNET + "input_blocks.0.0.weight": [320, 4, 3, 3],
    UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768],
    "first_stage_model.decoder.conv_in.weight": [1],
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": [1],
}
SDXL_LORA = {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": [4, 2048]}
SD15_LORA = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": [4, 768]}


def write_header(file: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file that is all header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    entries = {name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps(entries).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
