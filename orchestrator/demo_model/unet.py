"""A narrow UNet that is exactly a zero-padded Stable Diffusion 1.5 one.

ComfyUI takes a checkpoint for SD1.5 only if its UNet is 320 channels wide and reads a context of 768. Ours lives in
64 of those 320 channels and the others are zero: two of the ten channels of each of the 32 normalisation groups.
The normalisations divide by the full width and the attention scales by the full head, so that `expand` gives a
320-channel net with the same output to float rounding, and training costs a twentieth.

Three levels with one residual block each; transformers at the lower two and in the middle. Names follow the LDM layout.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
FULL_WIDTH, FULL_GROUP, FULL_HEAD, FULL_TIME, FULL_INNER = 320, 10, 40, 1280, 1280
LIVE_GROUP = 2
WIDTH = GROUPS * LIVE_GROUP
HEADS = 8
HEAD = WIDTH // HEADS
TIME = 256
INNER = 256
CONTEXT = 768
LATENT = 4
TRANSFORMER_AT = (False, True, True)


class GroupNorm(nn.Module):
    """GroupNorm over groups of ten channels of which two live; the other eight are zeros that count in the mean."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, breadth = x.shape
        grouped = x.reshape(batch, GROUPS, -1)
        count = FULL_GROUP * (width // WIDTH) * height * breadth
        mean = grouped.sum(-1, keepdim=True) / count
        variance = grouped.square().sum(-1, keepdim=True) / count - mean.square()
        scale = torch.rsqrt(variance + self.eps)
        weight = self.weight.reshape(GROUPS, -1)[None] * scale
        bias = self.bias.reshape(GROUPS, -1)[None] - weight * mean
        return torch.addcmul(bias.reshape(batch, width, 1, 1), x, weight.reshape(batch, width, 1, 1))


class LayerNorm(nn.Module):
    """LayerNorm over 320 channels of which 64 live."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.sum(-1, keepdim=True) / FULL_WIDTH
        variance = x.square().sum(-1, keepdim=True) / FULL_WIDTH - mean.square()
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


class Convolution(nn.Conv2d):
    """A convolution that ignores time and text, so that every part of a block is called alike."""

    def forward(self, x: Tensor, time: Tensor | None = None, text: Tensor | None = None) -> Tensor:
        return super().forward(x)


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    def __init__(self, into: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm(into), nn.SiLU(), nn.Conv2d(into, WIDTH, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(TIME, WIDTH))
        quiet = _silent(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.out_layers = nn.Sequential(GroupNorm(WIDTH), nn.SiLU(), nn.Identity(), quiet)
        self.skip_connection = nn.Identity() if into == WIDTH else nn.Conv2d(into, WIDTH, 1)

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        hidden = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(hidden)


class Attention(nn.Module):
    def __init__(self, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_k = nn.Linear(context, WIDTH, bias=False)
        self.to_v = nn.Linear(context, WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        batch, places, _ = x.shape
        query, key, value = (
            layer(source).reshape(batch, -1, HEADS, HEAD).transpose(1, 2)
            for layer, source in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, scale=FULL_HEAD**-0.5)
        return self.to_out(mixed.transpose(1, 2).reshape(batch, places, WIDTH))


class _Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, 2 * INNER)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gate(), nn.Identity(), nn.Linear(INNER, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _TransformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1 = Attention(WIDTH)
        self.attn2 = Attention(CONTEXT)
        self.ff = _FeedForward()
        self.norm1, self.norm2, self.norm3 = LayerNorm(), LayerNorm(), LayerNorm()

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), text)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = GroupNorm(WIDTH, 1e-6)
        self.proj_in = nn.Conv2d(WIDTH, WIDTH, 1)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock()])
        self.proj_out = _silent(nn.Conv2d(WIDTH, WIDTH, 1))

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        batch, width, height, breadth = x.shape
        places = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        places = self.transformer_blocks[0](places, text)
        return x + self.proj_out(places.transpose(1, 2).reshape(batch, width, height, breadth))


class Downsample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.op = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def time_features(timestep: Tensor) -> Tensor:
    """Timesteps [batch] in 0..999 to the 320 sines and cosines of SD1.5, cosines first."""
    half = FULL_WIDTH // 2
    frequency = torch.exp(-math.log(10000) * torch.arange(half) / half)
    angle = timestep[:, None].float() * frequency[None]
    return torch.cat([angle.cos(), angle.sin()], -1)


class NarrowUNet(nn.Module):
    """Predicts the noise [b, 4, h, w] in latents [b, 4, h, w] at timesteps [b], given the text [b, 77, 768].

    h and w are multiples of 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(FULL_WIDTH, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.input_blocks = nn.ModuleList([nn.ModuleList([Convolution(LATENT, WIDTH, 3, padding=1)])])
        deepest = len(TRANSFORMER_AT) - 1
        for level, transformer in enumerate(TRANSFORMER_AT):
            self.input_blocks.append(_block(WIDTH, transformer))
            if level < deepest:
                self.input_blocks.append(nn.ModuleList([Downsample()]))
        self.middle_block = nn.ModuleList([ResidualBlock(WIDTH), Transformer(), ResidualBlock(WIDTH)])
        self.output_blocks = nn.ModuleList()
        for level in range(deepest, -1, -1):
            for turn in range(2):
                block = _block(2 * WIDTH, TRANSFORMER_AT[level])
                if level and turn:
                    block.append(Upsample())
                self.output_blocks.append(block)
        self.out = nn.Sequential(GroupNorm(WIDTH), nn.SiLU(), _silent(nn.Conv2d(WIDTH, LATENT, 3, padding=1)))

    def forward(self, latent: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        time = self.time_embed(time_features(timestep))
        hidden, kept = latent, []
        for block in self.input_blocks:
            for part in block:
                hidden = part(hidden, time, text)
            kept.append(hidden)
        for part in self.middle_block:
            hidden = part(hidden, time, text)
        for block in self.output_blocks:
            hidden = torch.cat([hidden, kept.pop()], 1)
            for part in block:
                hidden = part(hidden, time, text)
        return self.out(hidden)


def _block(into: int, transformer: bool) -> nn.ModuleList:
    return nn.ModuleList([ResidualBlock(into), Transformer()] if transformer else [ResidualBlock(into)])


_LIVE = torch.tensor([FULL_GROUP * group + place for group in range(GROUPS) for place in range(LIVE_GROUP)])
_LIVE_TWICE = torch.cat([_LIVE, _LIVE + FULL_WIDTH])
_HEAD = torch.tensor([FULL_HEAD * head + place for head in range(HEADS) for place in range(HEAD)])
_TIME = torch.arange(TIME)
_INNER = torch.arange(INNER)

_Axis = tuple[int, Tensor]
"""One axis of a full-size tensor: its length, and the places where the narrow one goes."""


def _axes(name: str, shape: torch.Size) -> tuple[_Axis, _Axis]:
    """Output and input axis of a tensor of the narrow net in the full one."""
    wide = (FULL_WIDTH, _LIVE)
    time = (FULL_TIME, _TIME)
    heads = (FULL_WIDTH, _HEAD)
    if name.startswith("time_embed.0"):
        return time, (FULL_WIDTH, torch.arange(FULL_WIDTH))
    if name.startswith("time_embed.2"):
        return time, time
    if name.startswith("input_blocks.0.0"):
        return wide, (LATENT, torch.arange(LATENT))
    if name.startswith("out.2"):
        return (LATENT, torch.arange(LATENT)), wide
    if ".emb_layers.1" in name:
        return wide, time
    if ".ff.net.0.proj" in name:
        return (2 * FULL_INNER, torch.cat([_INNER, _INNER + FULL_INNER])), wide
    if ".ff.net.2" in name:
        return wide, (FULL_INNER, _INNER)
    if ".attn2.to_k" in name or ".attn2.to_v" in name:
        return heads, (CONTEXT, torch.arange(CONTEXT))
    if ".to_q" in name or ".to_k" in name or ".to_v" in name:
        return heads, wide
    if ".to_out.0" in name:
        return wide, heads
    twice = (2 * FULL_WIDTH, _LIVE_TWICE)
    return twice if shape[0] == 2 * WIDTH else wide, twice if len(shape) > 1 and shape[1] == 2 * WIDTH else wide


def expand(narrow: dict[str, Tensor]) -> dict[str, Tensor]:
    """A narrow state dict as the 320-channel one with the same output, zeros elsewhere; names and dtypes are kept."""
    full = {}
    for name, tensor in narrow.items():
        (rows, row_places), (columns, column_places) = _axes(name, tensor.shape)
        if tensor.dim() == 1:
            full[name] = torch.zeros(rows, dtype=tensor.dtype)
            full[name][row_places] = tensor
        else:
            full[name] = torch.zeros(rows, columns, *tensor.shape[2:], dtype=tensor.dtype)
            full[name][row_places[:, None], column_places[None, :]] = tensor
    return full
