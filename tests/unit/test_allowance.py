from pathlib import Path

import pytest

from orchestrator.allowance import require_sizes, require_steps_and_canvas
from orchestrator.callers.caller import Limits
from orchestrator.comfy.known import known_catalog
from orchestrator.errors import InvalidParameters
from orchestrator.images.picture import Picture
from orchestrator.widgets.library import load_one
from orchestrator.widgets.widget import Widget

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def txt2img() -> Widget:
    return load_one(PROJECT / "workflows" / "txt2img", known_catalog())


def refused(widget: Widget, limits: Limits, **given: object) -> set[str]:
    values = widget.check({"prompt": "a heart"} | given).values
    try:
        require_steps_and_canvas(widget, values, limits)
    except InvalidParameters as error:
        return {field.field for field in error.fields}
    return set()


def test_steps_beyond_the_limit_are_named(txt2img: Widget) -> None:
    assert refused(txt2img, Limits(steps=20), steps=21) == {"steps"}
    assert refused(txt2img, Limits(steps=20), steps=20) == set()
    assert refused(txt2img, Limits(), steps=150) == set()
    assert refused(txt2img, Limits(steps=20)) == {"steps"}  # its default is 25


def test_a_canvas_beyond_the_limit_is_named_by_both_its_sides(txt2img: Widget) -> None:
    assert refused(txt2img, Limits(megapixels=0.5), width=1024, height=512) == {"width", "height"}
    assert refused(txt2img, Limits(megapixels=0.5), width=976, height=512) == set()
    assert refused(txt2img, Limits(), width=2048, height=2048) == set()
    assert refused(txt2img, Limits(megapixels=0.5, steps=1), width=2048) == {"width", "height", "steps"}


def test_a_picture_beyond_the_limit_is_named() -> None:
    pictures = {name: Picture(name, side, side, b"", "") for name, side in (("small", 700), ("large", 720))}
    require_sizes(pictures, Limits())
    with pytest.raises(InvalidParameters) as caught:
        require_sizes(pictures, Limits(megapixels=0.5))
    assert [field.field for field in caught.value.fields] == ["large"]
    assert "720 x 720 is more than the 0.5 megapixels" in caught.value.fields[0].message
