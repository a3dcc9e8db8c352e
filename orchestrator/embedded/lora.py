"""kohya's LoRA files for Stable Diffusion 1.5: read, and merged into a module's weights for a while.

A pair of matrices changes a weight by strength * alpha / rank * up @ down (Hu et al. 2021, arXiv 2106.09685); for
convolutions as LoCon does, with an optional kernel in the middle. Names are those of diffusers' or LDM's blocks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from orchestrator.embedded.narrowing import refresh
from orchestrator.embedded.unsupported import UnsupportedModel

UNET, TEXT = "lora_unet_", "lora_te_"
_TEXT_ALIASES = ("lora_te1_",)
_UNKNOWN = {"hada_w1_a": "LoHa", "lokr_w1": "LoKr", "lokr_w1_a": "LoKr", "dora_scale": "DoRA", "oft_blocks": "OFT"}


@dataclass(frozen=True, eq=False)
class Change:
    """The low-rank change of one weight. Equal only to itself, as tensors cannot be compared in one word."""

    up: Tensor
    down: Tensor
    middle: Tensor | None
    scale: float

    def delta(self, shape: Sequence[int]) -> Tensor:
        """The change at strength one, in the weight's shape, float32; RuntimeError when it does not fit."""
        up, down = self.up.float().flatten(1), self.down.float()
        if self.middle is not None:
            kernel = torch.einsum("pqhw,qi->pihw", self.middle.float(), down.flatten(1))
            whole = (up @ kernel.flatten(1)).reshape(up.shape[0], *kernel.shape[1:])
        else:
            whole = up @ down.flatten(1)
        return whole.reshape(tuple(shape)) * self.scale


@dataclass(frozen=True, eq=False)
class Lora:
    """A file as it was read: changes by kohya's name of what they change, such as
    `lora_unet_mid_block_attentions_0_proj_in`."""

    file: Path
    changes: Mapping[str, Change]


@dataclass(frozen=True)
class Use:
    """One LoRA in a chain, at a strength."""

    lora: Lora
    strength: float


def _change(state: Mapping[str, Tensor], name: str) -> Change:
    up, down = state[f"{name}.lora_up.weight"], state[f"{name}.lora_down.weight"]
    alpha = state.get(f"{name}.alpha")
    scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
    return Change(up, down, state.get(f"{name}.lora_mid.weight"), scale)


def _canonical(name: str) -> str:
    for alias in _TEXT_ALIASES:
        if name.startswith(alias):
            return TEXT + name[len(alias) :]
    return name


def read(file: Path) -> Lora:
    """The LoRA in a `.safetensors` file; UnsupportedModel when it is of another kind than kohya's LoRA and LoCon."""
    state = load_file(file)
    for name in state:
        kind = _UNKNOWN.get(name.rsplit(".", 1)[-1])
        if kind:
            raise UnsupportedModel(f"{file.name} is a {kind} file, which the embedded backend does not know.")
    names = [name.removesuffix(".lora_up.weight") for name in state if name.endswith(".lora_up.weight")]
    if not names:
        raise UnsupportedModel(f"{file.name} holds no LoRA in kohya's naming.")
    return Lora(file, {_canonical(name): _change(state, name) for name in names})


class Patched:
    """A module whose weights carry a chain of LoRAs, and can carry another: what was changed is kept to undo it.

    `names` gives kohya's names of each weight; `stored` rounds a changed weight to what the module's kind keeps.
    """

    def __init__(
        self, module: Any, names: Mapping[str, str], stored: Callable[[Tensor], Tensor] = lambda weight: weight
    ):
        self._module = module
        self._names = names
        self._stored = stored
        self._chain: tuple[Use, ...] = ()
        self._originals: dict[str, Tensor] = {}

    def with_loras(self, chain: tuple[Use, ...]) -> Any:
        """The module with exactly this chain merged in; at no cost when it already is."""
        chain = tuple(use for use in chain if use.strength)
        if chain != self._chain:
            self._restore()
            self._merge(chain)
        return self._module

    def _restore(self) -> None:
        for name, weight in self._originals.items():
            self._put(name, weight)
        self._originals = {}
        self._chain = ()

    def _merge(self, chain: tuple[Use, ...]) -> None:
        sums: dict[str, Tensor] = {}
        for use in chain:
            for kohya, change in use.lora.changes.items():
                name = self._names.get(kohya)
                if name is None:
                    continue
                weight = sums.get(name, self._module.get_parameter(name).data)
                sums[name] = weight + use.strength * self._delta(use, kohya, change, weight.shape)
        for name, weight in sums.items():
            self._originals[name] = self._module.get_parameter(name).data
            self._put(name, self._stored(weight))
        self._chain = chain

    def _put(self, name: str, weight: Tensor) -> None:
        self._module.get_parameter(name).data = weight
        refresh(self._module.get_submodule(name.rpartition(".")[0]))

    def _delta(self, use: Use, kohya: str, change: Change, shape: Sequence[int]) -> Tensor:
        try:
            return change.delta(shape)
        except RuntimeError as error:
            raise UnsupportedModel(
                f"{use.lora.file.name} does not fit this checkpoint: {kohya} has other sizes."
            ) from error

    def knows(self, names: Iterable[str]) -> int:
        """How many of these kohya names are weights of this module."""
        return sum(name in self._names for name in names)


def kohya_names(module: Any, prefix: str, also: Mapping[str, str] | None = None) -> dict[str, str]:
    """kohya's name to the parameter it means, for every weight of a module.

    `also` maps other prefixes of the same parts (LDM's) to the module's own, for files that name those.
    """
    weights = [name.removesuffix(".weight") for name, _ in module.named_parameters() if name.endswith(".weight")]
    result = {prefix + name.replace(".", "_"): f"{name}.weight" for name in weights}
    for old, new in (also or {}).items():
        for name in weights:
            if name == new or name.startswith(f"{new}."):
                result.setdefault(prefix + (old + name[len(new) :]).replace(".", "_"), f"{name}.weight")
    return result
