"""What a caller may give for a value, and what is sent of it."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.client.form import read_parts, with_hints
from orchestrator.errors import FieldError, InvalidParameters


async def test_texts_and_numbers_go_as_text_and_none_not_at_all() -> None:
    given: dict[str, Any] = {"prompt": "a hat", "steps": 9, "cfg_scale": 7.5, "flag": True, "seed": None}
    assert await read_parts(given) == {"prompt": "a hat", "steps": "9", "cfg_scale": "7.5", "flag": "true"}
    numbers: dict[str, Any] = {
        "seed": np.int64(7),
        "strength": np.float32(0.5),
        "flag": np.bool_(True),
        "n": np.array(5),
    }
    assert await read_parts(numbers) == {"seed": "7", "strength": "0.5", "flag": "true", "n": "5"}


async def test_paths_bytes_and_binary_files_go_as_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    at_its_end = io.BytesIO(b"picture")
    at_its_end.seek(0, io.SEEK_END)
    with path.open("rb") as opened, tempfile.TemporaryFile() as unnamed:
        unnamed.write(b"picture")
        parts = await read_parts(
            {"a": path, "b": b"picture", "c": bytearray(b"picture"), "d": opened, "e": at_its_end, "f": unnamed}
        )
    assert parts == dict.fromkeys("abcdef", b"picture")


@pytest.mark.parametrize("value", [["a"], {"a": 1}, Image.new("L", (1, 1)), np.zeros(3), object()])
async def test_anything_else_is_a_type_error_that_names_the_parameter(value: Any) -> None:
    with pytest.raises(TypeError, match=f"^image is of type {type(value).__name__}, .*pathlib.Path"):
        await read_parts({"prompt": "p", "image": value})


async def test_a_file_of_text_is_a_type_error() -> None:
    text: Any = io.StringIO("text")
    with pytest.raises(TypeError, match=r"^image is a file of text: open it in binary"):
        await read_parts({"image": text})


async def test_files_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as closed:
        pass
    with pytest.raises(InvalidParameters) as refused:
        await read_parts({"image": tmp_path / "none.png", "mask": closed})
    assert [one.field for one in refused.value.fields] == ["image", "mask"]
    assert "none.png cannot be read: No such file" in refused.value.fields[0].message


def test_a_files_name_that_was_given_as_text_is_hinted_at(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    complaints = [FieldError(field, "no") for field in ("image", "mask", "prompt", "seed", "model")]
    given: dict[str, Any] = {"image": str(tmp_path / "a.png"), "mask": str(tmp_path), "prompt": "p" * 9000, "seed": 1}
    hinted = with_hints(complaints, given)
    assert [one.field for one in hinted if "pathlib.Path" in one.message] == ["image"]
