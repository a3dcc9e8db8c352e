import logging

import pytest

from orchestrator.comfy.loglines import level_of


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("got prompt", logging.INFO),
        ("x" * 1_000_000, logging.INFO),  # looked at in no time
        ("2026-11-24 12:00:00,123 ERROR orchestrator.embedded: broken", logging.ERROR),
        ("[WARNING] Could not load sageattention", logging.WARNING),
        ("[ComfyUI-Manager] ERROR: no network", logging.ERROR),
        ("/a/b.py:12: UserWarning: something is old", logging.WARNING),
        ("Traceback (most recent call last):", logging.ERROR),
        ("!!! Exception during processing !!! Allocation on device", logging.ERROR),
        ("torch.OutOfMemoryError: CUDA out of memory.", logging.ERROR),
        ("ValueError: no", logging.ERROR),
        ("Prompt executed in 1.20 seconds", logging.INFO),
        ("this prompt paints the word ERROR on a wall, which is no fault of anybody who runs it: ERROR", logging.INFO),
    ],
)
def test_a_line_is_as_grave_as_it_says_or_sounds(line: str, level: int) -> None:
    assert level_of(line) == level
