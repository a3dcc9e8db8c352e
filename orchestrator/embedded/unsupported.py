"""The error for files that this backend cannot run; its text is one sentence for whoever chose the file."""


class UnsupportedModel(Exception):
    """A checkpoint or LoRA of a kind that the embedded backend does not know."""
