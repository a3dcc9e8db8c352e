"""Fill against a plain restatement of A1111's rule on whole pictures."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter


def filled_as_stated(image: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """Levels (height, width, 4): every layer over the whole picture, with Pillow's rounding after each pass."""
    rgb = (image[0].numpy() * 255).round().astype(np.uint8)
    alpha = 255 - (mask[0].numpy() * 255).round().astype(np.uint8)
    premultiplied = Image.fromarray(np.dstack([rgb, np.full_like(alpha, 255)]), "RGBA").convert("RGBa")
    visible = Image.new("RGBa", premultiplied.size)
    visible.paste(premultiplied, (0, 0), Image.fromarray(alpha))
    canvas = Image.new("RGBA", visible.size)
    for radius in (256, 64, 16, 16, 4, 4, 4, 4, 2, 2, 0):
        canvas = Image.alpha_composite(canvas, visible.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA"))
    return np.asarray(canvas).astype(int)


def ellipse(height: int, width: int, soft: bool) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    distance = (x - 0.2) ** 2 + (y + 0.1) ** 2
    mask = (0.2 - distance).mul(8).add(0.5).clamp(0, 1) if soft else (distance < 0.2).float()
    return ((mask * 255).round() / 255)[None]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("height", "width"), [(200, 260), (64, 48), (17, 300)])
def test_fill_follows_the_stated_rule_within_a_level_or_two(node, picture, height, width, soft):
    image, mask = picture(height, width), ellipse(height, width, soft)
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    stated = filled_as_stated(image, mask)
    apart = np.abs((filled[0] * 255).round().numpy() - stated[..., :3]).max(2)
    assert stated[..., 3].min() > 200, "the surroundings reach all of the mask"
    assert apart.max() <= 3
    assert (apart > 1).mean() < 0.03
    assert apart[mask[0].numpy() == 0].max() == 0


def disc(side: int, radius: int) -> torch.Tensor:
    places = torch.arange(side) - side // 2
    return ((places[:, None] ** 2 + places[None] ** 2) < radius**2).float()[None]


def half(height: int, width: int) -> torch.Tensor:
    """It touches three of the picture's edges."""
    mask = torch.zeros(1, height, width)
    mask[:, :, width // 2 :] = 1
    return mask


@pytest.mark.parametrize(
    ("mask", "blocks"),
    [
        (ellipse(901, 1203, soft=True), 2),  # of odd sides
        (disc(1024, 260), 2),
        (half(300, 1000), 2),
        (disc(1000, 420), 4),
        (half(801, 1399), 4),
        (disc(1000, 470) - disc(1000, 466), 2),
    ],
    ids=["soft ellipse", "disc", "half", "large disc", "large half", "thin ring"],
)
def test_a_large_fill_is_the_stated_one_but_for_pillows_rounding(pack, node, picture, monkeypatch, mask, blocks):
    used = []
    laid = pack.fill_by_blocks.laid
    monkeypatch.setattr(pack.fill_by_blocks, "laid", lambda layers, *rest: used.append(layers) or laid(layers, *rest))
    image = picture(*mask.shape[1:])
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    assert used[0][-1] == (2, 2, blocks)
    stated = filled_as_stated(image, mask)
    hidden = mask[0].numpy() > 0
    signed = ((filled[0] * 255).round().numpy() - stated[..., :3]) * stated[..., 3:] / 255
    signed = signed[hidden]  # in WebUI's levels, of which it has as many as it keeps of 255
    apart = np.abs(signed).max(1)
    assert (apart > 1).mean() < 0.35
    assert (apart > 3).mean() < 0.05
    assert apart.max() <= 12
    assert abs(signed.mean()) < 0.4
    assert torch.equal(filled[0][mask[0] == 0], image[0][mask[0] == 0])


def boxed(planes: np.ndarray, radius: float, axis: int) -> np.ndarray:
    """One box blur of a fractional radius, edges repeated."""
    whole, length = int(radius), planes.shape[axis]
    around = [(0, 0)] * planes.ndim
    around[axis] = (whole + 1, whole + 1)
    wide = np.pad(planes, around, "edge")
    parts = [wide.take(range(start, start + length), axis) for start in range(2 * whole + 3)]
    return (sum(parts[1:-1]) + (radius - whole) * (parts[0] + parts[-1])) / (2 * radius + 1)


def filled_in_floats(pack, image: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """The stated rule on every pixel, but without any rounding: levels (height, width, 3)."""
    alpha = 255 - mask[0].double().numpy()[..., None] * 255
    visible = np.concatenate([image[0].double().numpy() * alpha, alpha], 2)
    canvas = np.zeros_like(visible)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        layer = visible
        for axis in (0, 0, 0, 1, 1, 1) if radius else ():
            layer = boxed(layer, pack.box_blur.box_radius(radius), axis)
        for _ in range(times):
            canvas = layer + canvas * (1 - layer[..., 3:] / 255)
    return canvas[..., :3] / canvas[..., 3:] * 255


def waves(height: int, width: int) -> torch.Tensor:
    """A picture without fine detail."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    levels = [120 + 60 * torch.sin(x / 31 + shift) + 50 * torch.cos(y / 23 - x / 90 * shift) for shift in (0, 1, 2)]
    return (torch.stack(levels, 2)[None]).round() / 255


@pytest.fixture(params=[2, 4])
def blocks(request, pack, monkeypatch) -> int:
    """Has every mask filled on blocks of so many pixels a side."""
    monkeypatch.setattr(pack.fill, "SMALL", 0)
    monkeypatch.setattr(pack.fill_by_blocks, "_PAIRS_UP_TO", 2**30 if request.param == 2 else 0)
    monkeypatch.setattr(pack.fill_by_blocks, "_THIN", 0)
    return request.param


@pytest.mark.parametrize("size", [(200, 264), (197, 203), (330, 90)])
@pytest.mark.parametrize("shape", ["ellipse", "half"])
def test_on_blocks_a_fill_is_the_stated_one_without_rounding(pack, node, blocks, size, shape):
    image = waves(*size)
    mask = ellipse(*size, soft=True) if shape == "ellipse" else half(*size)
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    stated = filled_in_floats(pack, image, mask)
    hidden = mask[0].numpy() > 0
    apart = ((filled[0] * 255).round().numpy() + 0.5 * (mask[0].numpy() == 1)[..., None] - stated)[hidden]
    mean, most = (0.45, 3) if blocks == 2 else (0.68, 10)
    assert np.abs(apart).mean() < mean
    assert np.abs(apart).max() < most
    assert abs(apart.mean()) < 0.3


@pytest.mark.parametrize("wider", [0, 3])
@pytest.mark.parametrize("thing", ["disc", "wire"])
def test_nothing_of_what_is_masked_is_in_the_fill(node, blocks, thing, wider):
    y, x = torch.meshgrid(torch.arange(240), torch.arange(320), indexing="ij")
    distance = ((x - 150) ** 2 + (y - 110) ** 2).sqrt() - 70 if thing == "disc" else (y - 0.6 * x - 20).abs() - 4
    image = torch.where((distance < 0)[..., None], 0.0, 200 / 255).expand(1, -1, -1, 3)
    mask = (distance < wider).float()[None]
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    assert ((filled[0] * 255).round() - 200)[mask[0] == 1].abs().max() <= 4


@pytest.mark.parametrize("size", [(48, 64), (45, 61), (1, 9)])
def test_blocks_are_framed_by_the_outermost_pixels(pack, picture, size):
    levels = np.round(picture(*size)[0].numpy() * 255).astype(np.uint8)
    visible = Image.fromarray(np.dstack([levels, np.full(size, 255, np.uint8)]), "RGBA").convert("RGBa")
    two = pack.block_layers.visible_blocks([visible], 2, 8, 16)
    four = two.halved()
    for blocks, left, top in ((two, 4, 8), (four, 2, 4)):
        side = blocks.size
        assert blocks.blocks.place() == (left, top, left + math.ceil(size[1] / side), top + math.ceil(size[0] / side))
        framed = blocks.framed[:3].permute(1, 2, 0).numpy()
        for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            assert (framed[corner] == levels[corner]).all()
        whole = np.pad(levels.astype(float), ((0, -size[0] % side), (0, -size[1] % side), (0, 0)), "edge")
        means = whole.reshape(len(whole) // side, side, -1, side, 3).mean((1, 3))
        top_row = whole[0].reshape(-1, side, 3).mean(1)
        if size == (48, 64):
            assert np.abs(framed[1:-1, 1:-1] - means).max() <= 0.5
            assert np.abs(framed[0, 1:-1] - top_row).max() <= 0.5


@pytest.mark.parametrize(
    "part", [(16, 24, 64, 72), (0, 24, 64, 72), (16, 0, 64, 72), (16, 24, 96, 72), (16, 24, 64, 80)]
)
def test_the_whole_picture_around_a_part_is_that_of_all_of_it(pack, picture, part):
    image = picture(80, 96)
    levels = np.round(image[0].numpy() * 255).astype(np.uint8)
    visible = Image.fromarray(np.dstack([levels, np.full((80, 96), 255, np.uint8)]), "RGBA").convert("RGBa")
    around = pack.block_layers.visible_blocks([visible.crop(part)], 8, *part[:2])
    made = pack.block_layers.whole_picture(image[0], around)
    stated = pack.block_layers.visible_blocks([visible], 8, 0, 0)
    assert (made.framed - stated.framed).abs().max() <= 0.51


def test_a_layer_reaches_one_block_beyond_its_box_and_lies_straight_between_blocks(pack):
    ramp = 8 * torch.arange(-1.0, 31.0).clamp(-0.4375, 29.4375) + 3.5
    framed = torch.stack([*[ramp.expand(22, 32)] * 3, torch.full((22, 32), 255.0)])
    visible = {8: pack.block_layers.Visible(framed, 8, 0, 0)}
    canvas = pack.block_layers.laid([(8, 1, 8)], visible, (80, 72, 120, 99))
    assert canvas.place() == (9, 8, 16, 14)
    pixels = pack.block_layers.resampled(canvas, 1, (80, 72, 120, 99))
    assert torch.allclose(pixels[0], torch.arange(80.0, 120.0).expand(27, 40), atol=0.02)


def test_what_is_near_a_box_is_all_that_the_layer_of_sixteen_sees(pack):
    mask = torch.zeros(400, 500)
    left, top, right, bottom = pack.block_layers.near((200, 150, 260, 190), mask)
    assert left <= 200 - 48 - 8
    assert top <= 150 - 48 - 8
    assert right >= 260 + 48 + 8
    assert bottom >= 190 + 48 + 8
    assert [side % 8 for side in (left, top, right, bottom)] == [0, 0, 0, 0]
    assert pack.block_layers.near((10, 20, 499, 395), mask) == (0, 0, 500, 400)


@pytest.mark.parametrize("radius", [350, 480])
def test_deep_in_a_huge_mask_it_is_as_near_as_eight_bits_there_allow(node, picture, radius):
    """WebUI keeps a few levels of the surroundings there, so each is worth 255 over their number."""
    image, mask = picture(1024, 1024), disc(1024, radius)
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    stated = filled_as_stated(image, mask)
    apart = np.abs((filled[0] * 255).round().numpy() - stated[..., :3]).max(2)
    deep = disc(1024, radius - 48)[0].numpy() > 0
    assert stated[deep][:, 3].min() < 110
    assert (apart * stated[..., 3] / 255)[deep].max() <= 3
    assert apart[deep].mean() <= 2


@pytest.mark.parametrize("radius", [0.87, 2, 4, 7.98, 32])
@pytest.mark.parametrize("box", [(0, 0, 150, 90), (40, 30, 101, 77), (0, 50, 20, 90)])
def test_the_blur_of_blocks_is_pillows_without_its_rounding(pack, picture, radius, box):
    levels = np.round(picture(90, 150)[0].numpy() * 255).astype(np.uint8)
    framed = torch.from_numpy(np.pad(levels, ((1, 1), (1, 1), (0, 0)), "edge")).permute(2, 0, 1).float()
    blurred = pack.box_blur.blurred(framed, radius, box)
    left, top, right, bottom = box
    stated = np.asarray(Image.fromarray(levels).filter(ImageFilter.GaussianBlur(radius)))[top:bottom, left:right]
    assert np.abs(blurred.permute(1, 2, 0).numpy() - stated).max() <= 2, "six times rounded"


def test_a_seam_of_bands_does_not_show(pack):
    ramp = torch.arange(402.0).expand(1, 302, 402)
    blurred = pack.box_blur.blurred(ramp, 4, (50, 0, 350, 300))
    assert torch.allclose(blurred, ramp[:, 1:-1, 51:351], atol=1e-3)


@pytest.mark.parametrize("radius", [0, 2, 4, 16])
@pytest.mark.parametrize(("height", "width"), [(200, 260), (64, 48), (17, 300)])
def test_the_rim_is_blurred_to_pillows_bits_and_nowhere_else_does_the_layer_show(pack, picture, height, width, radius):
    mask = (ellipse(height, width, soft=True)[0] * 255).round().to(torch.uint8)
    rgb = Image.fromarray((picture(height, width)[0].numpy() * 255).round().astype(np.uint8))
    rgb.putalpha(Image.fromarray(255 - mask.numpy()))
    visible = rgb.convert("RGBa")
    whole = levels_of_all(visible.filter(ImageFilter.GaussianBlur(radius)))
    rim = pack.rim_blur.rim_of(mask, pack.rim_blur.reach_of(radius))
    done = np.zeros_like(whole)
    for part, (top, left, bottom, right) in pack.rim_blur.blurred_rim(visible, radius, rim):
        done[top:bottom, left:right] = levels_of_all(part).transpose(1, 0, 2)
    hidden = mask.numpy() > 0
    assert np.array_equal(done[hidden], whole[hidden])
    assert (height, radius) != (200, 2) or not rim.all(), "nothing is left out"


def levels_of_all(picture: Image.Image) -> np.ndarray:
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.height, picture.width, 4)


def test_unmasked_pixels_stay_exact(node, picture):
    image, mask = picture(90, 70), ellipse(90, 70, soft=True)
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    assert torch.equal(filled[mask == 0], image[mask == 0])
    assert not torch.equal(filled[mask == 1], image[mask == 1])


def test_empty_mask_changes_nothing(node, picture):
    image = picture(33, 44)
    assert torch.equal(node("A1111InpaintFill").fill(image, torch.zeros(1, 33, 44))[0], image)


def test_all_white_mask_gives_the_mean_colour_instead_of_black(node, picture):
    image = picture(40, 56)
    (filled,) = node("A1111InpaintFill").fill(image, torch.ones(1, 40, 56))
    assert (filled - image.mean((1, 2))).abs().max() <= 0.51 / 255


def test_where_no_surroundings_arrive_their_mean_colour_stands(node):
    image = torch.zeros(1, 64, 2400, 3)
    image[:, :, :4] = torch.tensor([1.0, 0.0, 0.0])
    mask = torch.ones(1, 64, 2400)
    mask[:, :, :4] = 0
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    assert (filled_as_stated(image, mask)[:, -1] == 0).all(), "WebUI's rule leaves black here"
    assert torch.equal(filled[0, :, -1], torch.tensor([1.0, 0.0, 0.0]).expand(64, 3))


def test_each_picture_of_a_batch_takes_its_mask(node, picture):
    fill = node("A1111InpaintFill").fill
    pictures = torch.cat([picture(24, 24, 1), picture(24, 24, 2)])
    masks = torch.cat([torch.zeros(1, 24, 24), ellipse(24, 24, soft=False)])
    (filled,) = fill(pictures, masks)
    assert torch.equal(filled[0], pictures[0])
    assert torch.equal(filled[1], fill(pictures[1:], masks[1:])[0][0])
    assert torch.equal(fill(pictures, masks[1:])[0][0], fill(pictures[:1], masks[1:])[0][0])


def test_mask_of_another_size_is_refused_with_both_sizes(node, picture):
    with pytest.raises(ValueError, match=r"16x8 .* 16x24"):
        node("A1111InpaintFill").fill(picture(24, 16), torch.ones(1, 8, 16))
