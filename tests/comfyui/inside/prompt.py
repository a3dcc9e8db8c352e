"""Reads prompts with A1111 Prompt in a real ComfyUI and prints what came of them.

Arguments: see `start`.
"""

import json

from start import checkpoint, pack

# isort: split
import comfy.sd
import torch

TEXTS = {
    # what is given → what CLIP's tokenizer reads
    text: text
    for text in (
        "a red heart, 3 stars & it's 50% off!",
        "  blanks\n\tand lines  ",
        "Größe, naïve café, 猫と犬, 🐱👍🏽",
        "embedding:none, (an Embedding:none) and embedding:",
        "a\\(b\\) <b> &amp; #1 {x|y} ::",
        "pneumonoultramicroscopicsilicovolcanoconiosis " * 20,
        "one<|endoftext|>two <|startoftext|>three <|EndOfText|>",
        "<|endoftext|><|endoftext|>",
        "",
    )
} | {"it’s a “big” ‘cat’, ﬁne ＦＵＬＬ （x）": "it's a \"big\" 'cat', fine FULL (x)"}


@torch.inference_mode()
def main() -> None:
    model, clip, *_ = comfy.sd.load_checkpoint_guess_config(checkpoint, output_vae=False)
    encoder = pack.prompt_encoding.Encoder(clip)
    plain = clip.tokenizer.clip_l.tokenizer
    report: dict[str, object] = {
        "tokens": [
            [encoder._ids(text), plain(read, truncation=False, add_special_tokens=False)["input_ids"]]
            for text, read in TEXTS.items()
        ]
    }
    encode = pack.NODE_CLASS_MAPPINGS["A1111Prompt"]().encode
    (conditioning,) = encode(clip, "a AND " + "red heart, " * 40, "positive", 8)
    short, long = (states for states, _ in conditioning)
    (alone,) = encode(clip, "a", "positive", 8)
    report["parts"] = [list(short.shape), list(long.shape)]
    report["repeated"] = bool((short[:, 77:] == alone[0][0][:, -1:]).all()) and torch.equal(short[:, :77], alone[0][0])
    (turns,) = encode(clip, "(a:1.3) [cat|dog|[bird|fish]]", "positive", 150)
    report["alternating texts"] = len(turns)
    (longer,) = encode(clip, "a blue star, " * 40, "negative", 2)
    twice = [[torch.cat([alone[0][0]] * (longer[0][0].shape[1] // 77), 1), alone[0][1]]]
    sampler, latent = pack.NODE_CLASS_MAPPINGS["A1111Sampler"](), {"samples": torch.zeros(1, 4, 8, 8)}

    def painted(positive, cfg: float) -> torch.Tensor:
        settings = (7, 2, cfg, "euler", "karras", positive, longer, latent, 1.0, "cpu")
        return sampler.sample(model, *settings)[0]["samples"]

    report["unequal lengths"] = longer[0][0].shape[1] // 77
    for cfg in (1.0, 4.0):  # at 1 the prompt is evaluated alone, at 4 beside the longer one
        once = painted(alone, cfg)
        report[f"repeated at {cfg:g}"] = float((painted(twice, cfg) - once).abs().max() / once.abs().max())
    print(json.dumps(report))


main()
