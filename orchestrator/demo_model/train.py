"""Trains the demo model: `python -m orchestrator.demo_model.train --steps 6500 --state DIR`.

Epsilon prediction on Stable Diffusion's schedule. The loss is weighted as for v-prediction, capped: with the usual
min-SNR weights the noisy steps, where the caption alone decides the shape, count for almost nothing and shapes take
hours. Saves its whole state every 200 steps and goes on from there when started again; ends by writing the averaged
weights as `weights.safetensors` (float16) into the state folder.
"""

import argparse
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from orchestrator.demo_model.text_encoder import PLACES, Encoder
from orchestrator.demo_model.unet import NarrowUNet
from orchestrator.demo_model.vae import to_latent
from orchestrator.demo_model.world import scene
from orchestrator.embedded.tokenizer import clip_tokenizer

SIZES = ((16, 32), (24, 14), (32, 8))
"""Cells a side and pictures a batch: pictures that a sprite fills, and larger ones."""

PEAK_RATE = 1.5e-3
WARM_UP = 200
EASY_UNTIL = 1000
AVERAGING = 0.998
WEIGHT_CAP = 60.0
_PRAISE = ("pixel art", "best quality", "masterpiece", "highly detailed", "4k", "sprite")
_DISPRAISE = (
    "(worst quality, low quality:1.4),(malformed hands:1.4),(poorly drawn hands:1.4),(mutated fingers:1.4)",
    "(extra limbs:1.35),(poorly drawn face:1.4),bad leg,strange leg, poor eyes, full screen of face",
    "worst quality, low quality",
    "blurry, bad anatomy, watermark, text",
)


def noise_schedule() -> Tensor:
    """Stable Diffusion's cumulative signal share, [1000]: betas linear in their square roots."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def _caption(text: str, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.06:
        return ""
    if chance < 0.12:
        return rng.choice(_DISPRAISE)
    if chance < 0.22:
        return f"{text}, {rng.choice(_PRAISE)}"
    return text


def _ease(step: int) -> float:
    """The share of easy scenes: all at first, until words mean shapes, then fewer and fewer."""
    return min(1.0, max(0.2, 1.0 - 0.8 * (step - EASY_UNTIL) / EASY_UNTIL))


class Batches:
    """Endless noiseless latents [batch, 4, cells, cells] with token ids [batch, 77]."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._tokenizer = clip_tokenizer()

    def draw(self, ease: float) -> tuple[Tensor, Tensor]:
        larger = 0.6 * (1 - ease)
        cells, batch = self._rng.choices(SIZES, (1 - larger, larger * 0.6, larger * 0.4))[0]
        pictures, captions = zip(*(scene(self._rng, cells, ease) for _ in range(batch)), strict=True)
        rgb = torch.stack([torch.from_numpy(picture) for picture in pictures]).permute(0, 3, 1, 2) / 255
        texts = [_caption(caption, self._rng) for caption in captions]
        tokens = self._tokenizer(texts, padding="max_length", max_length=PLACES, truncation=True, return_tensors="pt")
        return to_latent(rgb), tokens.input_ids


@dataclass
class Training:
    """All that a stopped run needs to go on: net, running average, optimiser, step."""

    net: NarrowUNet
    average: dict[str, Tensor]
    optimiser: torch.optim.AdamW
    step: int = 0

    @classmethod
    def start(cls) -> "Training":
        torch.manual_seed(0)
        net = NarrowUNet()
        optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=1e-3, betas=(0.9, 0.99))
        return cls(net, {name: value.clone() for name, value in net.state_dict().items()}, optimiser)

    def load(self, file: Path) -> None:
        state = torch.load(file, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.step = state["average"], state["step"]

    def save(self, file: Path) -> None:
        part = file.with_suffix(".part")
        state = {"net": self.net.state_dict(), "average": self.average, "step": self.step}
        torch.save({**state, "optimiser": self.optimiser.state_dict()}, part)
        part.replace(file)

    def follow(self) -> None:
        """Moves the running average towards the net."""
        keep = min(AVERAGING, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)


def _rate(step: int, steps: int) -> float:
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))


def _loss(net: NarrowUNet, latents: Tensor, text: Tensor, signal: Tensor) -> Tensor:
    timestep = torch.randint(0, len(signal), (len(latents),))
    share = signal[timestep][:, None, None, None]
    noise = torch.randn_like(latents)
    predicted = net(share.sqrt() * latents + (1 - share).sqrt() * noise, timestep, text)
    ratio = share / (1 - share)
    weight = (torch.clamp(ratio + 1, max=6.0) / ratio).clamp(max=WEIGHT_CAP)
    return (weight * (predicted - noise).square()).mean()


def train(folder: Path, steps: int) -> None:
    """Trains up to `steps` steps in all, going on from the state in `folder` if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    training, state = Training.start(), folder / "state.pt"
    if state.exists():
        training.load(state)
    torch.manual_seed(training.step)
    batches, encode, signal = Batches(random.Random(training.step)), Encoder(), noise_schedule()
    running, started = None, time.monotonic()
    first = training.step
    while training.step < steps:
        for group in training.optimiser.param_groups:
            group["lr"] = _rate(training.step, steps)
        latents, ids = batches.draw(_ease(training.step))
        loss = _loss(training.net, latents, encode(ids), signal)
        training.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(training.net.parameters(), 1.0)
        training.optimiser.step()
        training.step += 1
        training.follow()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if training.step % 50 == 0:
            pace = (time.monotonic() - started) / (training.step - first)
            print(f"step {training.step}/{steps}  loss {running:.4f}  {pace:.2f} s/step", flush=True)
        if training.step % 200 == 0 or training.step == steps:
            training.save(state)
    weights = {name: value.half().contiguous() for name, value in training.average.items()}
    save_file(weights, folder / "weights.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    train(arguments.state, arguments.steps)
