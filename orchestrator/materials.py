"""What a request's values name, read and found: its pictures and masks, and the files of its models.

All of it is looked at before anything is refused, so that a caller hears at once of everything that is at fault.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.allowance import require_sizes
from orchestrator.callers.caller import Limits
from orchestrator.complaints import Complaints
from orchestrator.images.mask import require_latent_mask
from orchestrator.images.source import Mask, Picture, PictureSource
from orchestrator.meanwhile import meanwhile
from orchestrator.models.finder import ModelFile, ModelFinder
from orchestrator.stopwatch import Stopwatch
from orchestrator.widgets.definition import MaskParameter
from orchestrator.widgets.prompt import LoraTag
from orchestrator.widgets.values import Values
from orchestrator.widgets.widget import Widget

_AT_ONCE = 8
"""LoRAs that are looked for at the same time: Civitai need not answer for all of a long prompt at once, and what it
does not answer is not waited for one by one."""


_GRACE = 1.0
"""Seconds for which a request that cannot be taken waits for more that is wrong with it."""


@dataclass(frozen=True)
class Materials:
    """Of one request."""

    pictures: dict[str, Picture]
    """By parameter; masks at their picture's size, with something left to repaint."""
    files: Sequence[ModelFile]
    """The checkpoint, then the LoRAs in prompt order: all known to fit, none fetched yet."""


async def obtain(
    source: PictureSource, models: ModelFinder, widget: Widget, values: Values, limits: Limits, watch: Stopwatch
) -> Materials:
    """Pictures and models at the same time.

    Raises one error with a complaint for each fault: of pictures, masks, sizes that `limits` does not allow, models, in
    this order, which also says which class it has; but what may pass by itself comes last.
    """
    complaints = Complaints()
    async with meanwhile([_find_models(models, widget, values)]) as [finding]:
        pictures = await _read_pictures(source, widget, values, complaints)
        with complaints:
            require_sizes({name: pictures[name] for name in widget.definition.pictures if name in pictures}, limits)
        watch.lap("pictures")
        try:
            async with asyncio.timeout(_GRACE if complaints else None):
                with complaints:
                    files = await finding
        except TimeoutError:
            pass  # Civitai takes its time, and there is enough to tell
    complaints.settle()
    watch.lap("models")
    return Materials(pictures, files)


async def _read_pictures(
    source: PictureSource, widget: Widget, values: Values, complaints: Complaints
) -> dict[str, Picture]:
    """All that can be read."""
    definition = widget.definition
    given = [name for name in definition.pictures if name in values]
    masks = {name: mask for name, mask in definition.masks.items() if name in values}
    pictures: dict[str, Picture] = {}
    # Pictures first: while one is inflated, which leaves the interpreter to others, its mask is drawn.
    async with (
        meanwhile(source.read(values.picture(name), name) for name in given) as reading,
        meanwhile(
            source.read_mask(values.picture(name), name, _latent_check(mask, values)) for name, mask in masks.items()
        ) as drawing,
    ):
        for name, read in zip(given, reading, strict=True):
            with complaints:
                pictures[name] = await read
        for (name, mask), draw in zip(masks.items(), drawing, strict=True):
            with complaints:
                drawn = await draw
                if (of := pictures.get(mask.of)) is not None:
                    pictures[name] = await source.fit_mask(drawn, (of.width, of.height))
    return pictures


async def _find_models(models: ModelFinder, widget: Widget, values: Values) -> Sequence[ModelFile]:
    complaints = Complaints()
    checkpoint: ModelFile | None = None
    with complaints:
        checkpoint = await models.checkpoint(values.checkpoint, widget.definition.checkpoint, widget.families)
    field = widget.definition.loras.parameter if widget.definition.loras else widget.definition.checkpoint
    places = asyncio.Semaphore(_AT_ONCE)

    async def lora(tag: LoraTag) -> ModelFile:
        async with places:
            return await models.lora(tag.name, field, checkpoint)

    files = [] if checkpoint is None else [checkpoint]
    async with meanwhile(lora(tag) for tag in values.loras) as finding:
        for found in finding:
            with complaints:
                files.append(await found)
    complaints.settle()
    return files


def _latent_check(mask: MaskParameter, values: Values) -> Callable[[Mask], None]:
    """Refuses a mask that leaves nothing to repaint with these values."""
    blur = values.integer(mask.blur) if mask.blur else 0
    invert = mask.invert is not None and values.integer(mask.invert) == 1
    only = mask.only is not None and values.integer(mask.only) == 1
    padding = (values.integer(mask.padding) if mask.padding else 0) if only else None
    return partial(require_latent_mask, blur=blur, invert=invert, padding=padding)
