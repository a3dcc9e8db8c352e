"""The pictures that the demo model knows: one flat sprite on a ground, drawn in art pixels.

An art pixel is one latent cell, an 8x8 tile of the final picture. The world is kept small on purpose (one size of
sprite, ten shapes that differ in at least 16 of their 100 cells), so that a net trained for an hour on two cores
obeys its prompt and a test can tell from the picture whether it did.
"""

import random

import numpy as np
import numpy.typing as npt

SPRITE_CELLS = 10

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (212, 44, 48),
    "green": (44, 160, 66),
    "blue": (48, 98, 214),
    "yellow": (246, 208, 56),
    "orange": (242, 130, 36),
    "purple": (138, 66, 190),
    "pink": (242, 134, 184),
    "white": (246, 246, 246),
    "black": (28, 28, 32),
    "brown": (124, 78, 44),
}

_SPRITES = {
    "heart": """
        .###..###.
        ##########
        ##########
        ##########
        ##########
        .########.
        .########.
        ..######..
        ...####...
        ....##....""",
    "circle": """
        ...####...
        .########.
        .########.
        ##########
        ##########
        ##########
        ##########
        .########.
        .########.
        ...####...""",
    "square": """
        ##########
        ##########
        ##########
        ##########
        ##########
        ##########
        ##########
        ##########
        ##########
        ##########""",
    "triangle": """
        ..........
        ....##....
        ....##....
        ...####...
        ...####...
        ..######..
        ..######..
        .########.
        .########.
        ##########""",
    "ring": """
        ..######..
        .########.
        ###....###
        ##......##
        ##......##
        ##......##
        ##......##
        ###....###
        .########.
        ..######..""",
    "cross": """
        ...####...
        ...####...
        ...####...
        ##########
        ##########
        ##########
        ##########
        ...####...
        ...####...
        ...####...""",
    "moon": """
        ....#####.
        ..#####...
        .####.....
        ####......
        ####......
        ####......
        ####......
        .####.....
        ..#####...
        ....#####.""",
    "ladder": """
        ##......##
        ##########
        ##########
        ##......##
        ##......##
        ##########
        ##########
        ##......##
        ##......##
        ##########""",
    "mushroom": """
        ...####...
        .########.
        ##########
        ##########
        ##########
        ...####...
        ...####...
        ...####...
        ...####...
        ...####...""",
    "arrow": """
        ....##....
        .....###..
        ......###.
        ##########
        ##########
        ##########
        ##########
        ......###.
        .....###..
        ....##....""",
}


def _cells(drawing: str) -> npt.NDArray[np.bool_]:
    rows = drawing.split()
    return np.array([[cell == "#" for cell in row] for row in rows])


SPRITES: dict[str, npt.NDArray[np.bool_]] = {name: _cells(drawing) for name, drawing in _SPRITES.items()}
"""Shape name to its cells, [10, 10] booleans."""

GROUNDS = ("plain", "plain", "gradient", "photo", "photo")


def _jittered(colour: tuple[int, int, int], rng: random.Random) -> npt.NDArray[np.float32]:
    return np.array([value + rng.uniform(-7, 7) for value in colour], np.float32)


def _photo(draw: np.random.Generator, cells: int) -> npt.NDArray[np.float32]:
    """A smooth random field with some grain: what the mean of 8x8 tiles of a photograph looks like."""
    coarse = int(draw.integers(2, 6))
    nodes = draw.uniform(0, 255, (coarse, coarse, 3)).astype(np.float32)
    place = np.linspace(0, coarse - 1, cells, dtype=np.float32)
    low = np.minimum(place.astype(int), coarse - 2)
    part = (place - low)[:, None, None]
    rows = nodes[low] * (1 - part) + nodes[low + 1] * part
    part = (place - low)[None, :, None]
    field: npt.NDArray[np.float32] = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    field += draw.normal(0, draw.uniform(1, 10), field.shape).astype(np.float32)
    return field


def _ground(kind: str, colour: npt.NDArray[np.float32], rng: random.Random, cells: int) -> npt.NDArray[np.float32]:
    picture = np.broadcast_to(colour, (cells, cells, 3)).copy()
    if kind == "gradient":
        fall = np.linspace(1, rng.uniform(0.5, 0.8), cells, dtype=np.float32)
        picture *= fall[:, None, None] if rng.random() < 0.7 else fall[None, :, None]
    elif kind == "photo":
        picture = _photo(np.random.default_rng(rng.getrandbits(32)), cells)
    return picture


def _place(rng: random.Random, cells: int, easy: bool) -> int:
    """Where a sprite starts: near the middle of a picture that it fills, anywhere in a larger one."""
    room = cells - SPRITE_CELLS
    if room > SPRITE_CELLS:
        return rng.randint(0, room)
    return room // 2 + (0 if easy else rng.choice((-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)))


def scene(rng: random.Random, cells: int = 16, ease: float = 0.0) -> tuple[npt.NDArray[np.uint8], str]:
    """One training picture, [cells, cells, 3] uint8 RGB, and its caption.

    A share `ease` (0..1) of them is easy to learn from: a sprite in the middle of a plain ground, both named. Of the
    others about one in twelve is an empty ground, and four in ten captions do not name the ground.
    """
    easy = rng.random() < ease
    kind = "plain" if easy else rng.choice(GROUNDS)
    ground_name = rng.choice(list(COLOURS))
    picture = _ground(kind, _jittered(COLOURS[ground_name], rng), rng, cells)
    ground = {"plain": f"a {ground_name} background", "gradient": f"a {ground_name} gradient", "photo": "a photo"}[kind]
    if not easy and rng.random() < 0.08:
        return np.clip(picture, 0, 255).astype(np.uint8), ground
    name = rng.choice([colour for colour in COLOURS if kind == "photo" or colour != ground_name])
    shape = rng.choice(list(SPRITES))
    top, left = _place(rng, cells, easy), _place(rng, cells, easy)
    region = picture[top : top + SPRITE_CELLS, left : left + SPRITE_CELLS]
    region[SPRITES[shape]] = _jittered(COLOURS[name], rng)
    caption = f"a {name} {shape}" + (f" on {ground}" if easy or rng.random() < 0.6 else "")
    return np.clip(picture, 0, 255).astype(np.uint8), caption
