"""Fill against a plain restatement of A1111's rule on whole pictures."""

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


@pytest.mark.parametrize("radius", [350, 480])
def test_deep_in_a_huge_mask_it_is_as_near_as_eight_bits_there_allow(node, picture, radius):
    """WebUI keeps a few levels of the surroundings there, so each is worth 255 over their number."""
    image = picture(1024, 1024)
    places = torch.arange(1024) - 512
    mask = ((places[:, None] ** 2 + places[None] ** 2) < radius**2).float()[None]
    (filled,) = node("A1111InpaintFill").fill(image, mask)
    stated = filled_as_stated(image, mask)
    apart = np.abs((filled[0] * 255).round().numpy() - stated[..., :3]).max(2)
    assert stated[..., 3].min() < 110
    assert (apart * stated[..., 3] / 255).max() <= 3
    assert apart.mean() <= 2


@pytest.mark.parametrize("radius", [0, 2, 4, 16])
@pytest.mark.parametrize(("height", "width"), [(200, 260), (64, 48), (17, 300)])
def test_the_rim_is_blurred_to_pillows_bits_and_nowhere_else_does_the_layer_show(pack, picture, height, width, radius):
    mask = (ellipse(height, width, soft=True)[0] * 255).round().to(torch.uint8)
    rgb = Image.fromarray((picture(height, width)[0].numpy() * 255).round().astype(np.uint8))
    rgb.putalpha(Image.fromarray(255 - mask.numpy()))
    visible = rgb.convert("RGBa")
    whole = levels_of_all(visible.filter(ImageFilter.GaussianBlur(radius)))
    rim = pack.fill.rim_of(mask, pack.fill.reach_of(radius))
    done = np.zeros_like(whole)
    for part, (top, left, bottom, right) in pack.fill.blurred_rim(visible, radius, rim):
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
