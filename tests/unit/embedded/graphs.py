"""Node classes and graphs that need no model, for tests of what runs them."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.monitor import Monitor


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def kind(
    name: str, run: Callable[..., Result], *inputs: InputSpec, outputs: tuple[str, ...] = (), **more: Any
) -> NodeClass:
    return NodeClass(name, name, "tests", lambda: inputs, outputs, lambda: run, **more)


class Bench:
    """A catalogue of simple nodes that count how often they run."""

    def __init__(self, monitor: Monitor) -> None:
        self.runs: list[str] = []
        self._monitor = monitor
        number = InputSpec("value", "INT", {"default": 0, "min": 0, "max": 9})
        more = InputSpec("mode", ["plain", "twice"])
        text = InputSpec("name", "STRING")
        kinds = (
            kind("Number", self._number, number, more, outputs=("NUMBER",)),
            kind("Fresh", self._number, number, outputs=("NUMBER",), changed=lambda value: float("nan")),
            kind("Steps", self._steps, InputSpec("number", "NUMBER"), outputs=("NUMBER",)),
            kind("Broken", self._broken, InputSpec("number", "NUMBER"), outputs=("NUMBER",)),
            kind("Show", self._show, InputSpec("number", "NUMBER"), output_node=True),
            kind("Fresh file", self._show, text, check=_check, checked=frozenset({"name"}), output_node=True),
        )
        self.catalogue: Mapping[str, NodeClass] = {kind.name: kind for kind in kinds}

    def _number(self, value: int, mode: str = "plain") -> Result:
        self.runs.append("number")
        return Result((value,))

    def _steps(self, number: int) -> Result:
        self.runs.append("steps")
        for step in range(3):
            self._monitor.step(step + 1, 3)
        return Result((number + 1,))

    def _broken(self, number: int) -> Result:
        self.runs.append("broken")
        raise ArithmeticError("that does not add up")

    def _show(self, number: int = 0, name: str = "") -> Result:
        self.runs.append("show")
        return Result(ui={"numbers": [number]})


def _check(name: str) -> bool | str:
    return name == "there" or f"no file {name}"


STEPS_GRAPH = {
    "1": node("Number", value=4, mode="plain"),
    "2": node("Steps", number=["1", 0]),
    "3": node("Show", number=["2", 0]),
}


def painting(steps: int = 2, **changes: Any) -> dict[str, Any]:
    """A graph that paints with the tiny checkpoint."""
    settings = {"seed": 1, "steps": steps, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="tiny.safetensors"),
        "2": node("CLIPTextEncode", clip=["1", 1], text="a (red:1.2) heart"),
        "3": node("CLIPTextEncode", clip=["1", 1], text=""),
        "4": node("EmptyLatentImage", width=32, height=16, batch_size=1),
        "5": node("KSampler", **{**links, **settings, **changes}),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("PreviewImage", images=["6", 0]),
    }
