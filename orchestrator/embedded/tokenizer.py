"""CLIP's tokenizer without a download: OpenAI's merge list (MIT licence, `data/`) in the Hugging Face class."""

import gzip
from importlib import resources

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 49152 - 256 - 2


def _byte_symbols() -> list[str]:
    """The 256 printable symbols that stand for bytes, in the order of OpenAI's vocabulary (as GPT-2's)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def clip_tokenizer() -> CLIPTokenizer:
    """The tokenizer of CLIP ViT-L/14: 49,408 tokens, 77 places, padded with the end token."""
    packed = resources.files(__package__).joinpath("data/clip_bpe.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode().split("\n")[1 : _MERGES + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    symbols = _byte_symbols()
    words = [
        *symbols,
        *(symbol + "</w>" for symbol in symbols),
        *(first + second for first, second in merges),
        START,
        END,
    ]
    vocabulary = {word: place for place, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=END, model_max_length=77)
