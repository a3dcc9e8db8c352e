"""A CLIP for the tests of prompts: ComfyUI's two methods, a token for each letter, and states that are arithmetic."""

import re

import torch

LETTERS = 1000
START, END, COMMA = 49406, 49407, 267


class LetterClip:
    """`keys` are the text encoders, `widths` how wide their states are; `embeddings` maps names to [n, width]."""

    def __init__(self, keys=("l",), widths=(768,), embeddings=None):
        self.keys, self.widths = keys, dict(zip(keys, widths, strict=True))
        self.embeddings = embeddings or {}
        self.read = []

    def tokenize(self, text):
        name = text.removeprefix("embedding:") if text.startswith("embedding:") else None
        if name in self.embeddings:
            vectors = self.embeddings[name]
            tokens = {key: list(vectors[key]) for key in self.keys}
        else:
            plain = re.sub(r"\\([()])", r"\1", text)
            words = re.findall(r"<\|endoftext\|>|\S", plain, re.IGNORECASE)
            tokens = {key: [self._id(word) for word in words] for key in self.keys}
        return {key: self._batches(key, ids) for key, ids in tokens.items()}

    def _id(self, word):
        return COMMA if word == "," else ord(word) if len(word) == 1 else END

    def _batches(self, key, ids):
        cuts = [ids[place : place + 75] for place in range(0, len(ids), 75)] or [[]]
        pad = END if key == "l" else 0
        return [[(t, 1.0) for t in (START, *cut, END, *[pad] * (75 - len(cut)))] for cut in cuts]

    def encode_from_tokens(self, tokens, return_pooled=False):
        assert return_pooled
        self.read.append(tokens)
        states = []
        for key in ("l", "g"):
            if key in tokens:
                rows = [token for chunk in tokens[key] for token, weight in chunk if weight == 1.0]
                assert len(rows) == 77 * len(tokens[key]), "every chunk has 77 tokens of weight 1"
                values = torch.tensor([float(row.sum()) if isinstance(row, torch.Tensor) else row for row in rows])
                ramp = torch.linspace(0.5, 1.5, self.widths[key])
                states.append((values[:, None] / 50000 + 0.25) * ramp)
        pooled = torch.tensor([[float(len(tokens[key])) for key in self.keys]])
        return torch.cat(states, -1)[None], pooled
