"""What a new widget could offer of a workflow: parameters, bindings and titles, to be edited by the artist. Pure.

Proposes what callers most often set: checkpoint, prompts, pictures, seed, size, sampler settings, LoRAs. A proposal is
a definition that the audit would take, as far as the drawing allows; what is left out is said in a sentence.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from orchestrator.comfy.catalog import Catalog, InputSpec, NodeClass
from orchestrator.comfy.graph import Graph, Link, Node
from orchestrator.errors import WorkflowError
from orchestrator.widgets import definition as d
from orchestrator.widgets.gathering import Gathering
from orchestrator.widgets.samplers import SAMPLERS

_RESULTS = ("A1111TemporaryImage", "SaveImage", "SaveImageWebsocket", "PreviewImage")
"""Classes that give a picture back, the best first."""
_LORA_LOADER = "LoraLoader"


@dataclass(frozen=True)
class Proposal:
    """A definition without the artist's words, the titles that nodes must get for it (by id), and what was left out."""

    output: str
    parameters: Mapping[str, d.Parameter]
    bindings: tuple[d.Binding, ...]
    loras: d.Loras | None
    titles: Mapping[str, str]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Setting:
    """A number that callers set: the parameter's name and usual range, and what it does."""

    name: str
    low: float
    high: float
    help: str


_SETTINGS = {
    "steps": _Setting("steps", 1, 150, "How finely the way from noise to picture is divided."),
    "cfg": _Setting("cfg_scale", 1, 30, "How strictly the prompt is followed. High values look harsh."),
    "guidance": _Setting("guidance", 0, 30, "How strictly the prompt is followed."),
    "denoise": _Setting("denoising_strength", 0, 1, "How much of the picture is painted anew: 0 nothing, 1 all of it."),
    "width": _Setting("width", 64, 2048, "The picture's width in pixels."),
    "height": _Setting("height", 64, 2048, "The picture's height in pixels."),
}


def propose(graph: Graph, catalog: Catalog) -> Proposal:
    """What a widget of this workflow could offer.

    Raises WorkflowError if the workflow gives no picture or loads no checkpoint.
    """
    return _Proposer(graph, catalog).all()


class _Proposer(Gathering):
    def all(self) -> Proposal:
        output = self._output()
        self._checkpoint()
        self._prompts()
        self._pictures()
        # A prompt that is told the number of steps comes after the sampler that it follows.
        for id_, node, known in sorted(self.nodes(), key=lambda at: _is_told_steps(at[2])):
            self._size_and_steps(id_, node, known)
            self._sampler(id_, node, known)
        self._seeds()
        return Proposal(
            self.titled(output, "Result"),
            self.parameters,
            tuple(self.bindings),
            self._loras(),
            self.titles,
            tuple(self.left_out),
        )

    def _output(self) -> str:
        found = [
            (id_, node) for wanted in _RESULTS for id_, node in self.graph.nodes.items() if node.class_type == wanted
        ]
        if not found:
            raise WorkflowError(f"no node gives a picture back; add one of {', '.join(_RESULTS)}")
        for _, node in found[1:]:
            self.left_out.append(f"'{node.title}' gives a picture too; a widget answers with one")
        return found[0][0]

    def _checkpoint(self) -> None:
        found = [
            (id_, name)
            for id_, node, known in self.nodes()
            for name in ("ckpt_name",)
            if name in known.inputs and isinstance(node.inputs.get(name), str)
        ]
        if not found:
            raise WorkflowError("no node loads a checkpoint; a widget needs one, such as Load Checkpoint")
        id_, name = found[0]
        drawn = PurePosixPath(str(self.graph.nodes[id_].inputs[name]).replace("\\", "/")).stem
        help_ = "The checkpoint, by file name or as a Civitai model version id."
        self.offer("model", d.CheckpointParameter(type="checkpoint", default=drawn, help=help_), [(id_, name, "value")])
        for other, _ in found[1:]:
            self.left_out.append(f"'{self.graph.nodes[other].title}' loads a checkpoint too; it stays as it is drawn")

    def _prompts(self) -> None:
        positive, negative = self._behind("positive"), self._behind("negative")
        # What to paint comes first: it is what every caller sets.
        for id_, node, known in sorted(self.nodes(), key=lambda at: (at[0] not in positive, at[0] not in negative)):
            texts = [
                name
                for name, spec in known.inputs.items()
                if _is_prompt(spec) and isinstance(node.inputs.get(name), str)
            ]
            if not texts:
                continue
            drawn = str(node.inputs[texts[0]])
            targets = [(id_, name, "value") for name in texts if node.inputs[name] == drawn]
            if id_ in positive and id_ not in negative:
                help_ = "What to paint. <lora:id:weight> adds a LoRA." if self._takes_loras() else "What to paint."
                made: d.Parameter = d.PromptParameter(type="prompt", required=True, help=help_)
                self.offer("prompt", made, targets, title="Prompt")
            elif id_ in negative and id_ not in positive:
                made = d.PromptParameter(type="prompt", default=drawn, help="What to stay away from.")
                self.offer("negative_prompt", made, targets, title="Negative prompt")
            else:
                made = d.TextParameter(type="text", default=drawn, help=f"The text of '{node.title}'.")
                self.offer(_word(node.title), made, targets)

    def _behind(self, name: str) -> set[str]:
        """The ids of all nodes that something called `name` is made of, as far back as conditioning goes."""
        waiting = [node.inputs[name] for node in self.graph.nodes.values() if name in node.inputs]
        found: set[str] = set()
        while waiting:
            link = waiting.pop()
            if not isinstance(link, Link) or link.node in found:
                continue
            found.add(link.node)
            node = self.graph.nodes[link.node]
            known = self.catalog.classes.get(node.class_type)
            # A node that handles both kinds gives each at an output of its own, in the order of its inputs.
            both = [other for other in ("positive", "negative") if isinstance(node.inputs.get(other), Link)]
            if len(both) == 2:
                waiting.append(node.inputs[both[min(link.slot, 1)]])
                continue
            for input_name, value in node.inputs.items():
                spec = known.inputs.get(input_name) if known is not None else None
                if spec is None or spec.kind in ("CONDITIONING", "STRING"):
                    waiting.append(value)
        return found

    def _pictures(self) -> None:
        first: str | None = None
        for id_, node, known in self.nodes():
            spec = known.inputs.get("image")
            if (
                spec is None
                or spec.options.get("image_upload") is not True
                or not isinstance(node.inputs.get("image"), str)
            ):
                continue
            made: d.Parameter = d.PictureParameter(
                type="picture", required=True, help=f"The picture for '{node.title}'."
            )
            if "IMAGE" not in known.outputs and "MASK" in known.outputs:
                if first is None:
                    self.left_out.append(
                        f"'{node.title}': a mask needs a picture that it belongs to; it stays as drawn"
                    )
                    continue
                made = d.MaskParameter(type="mask", of=first, required=True, help="Where to paint: white is painted.")
                self.offer("mask", made, [(id_, "image", "value")])
                continue
            first = self.offer("image", made, [(id_, "image", "value")]) or first

    def _size_and_steps(self, id_: str, node: Node, known: NodeClass) -> None:
        for name, setting in _SETTINGS.items():
            spec, drawn = known.inputs.get(name), node.inputs.get(name)
            if spec is None or isinstance(drawn, bool) or not isinstance(drawn, int | float):
                continue
            if name in ("width", "height") and "LATENT" not in known.outputs:
                continue
            if name == "steps" and _is_told_steps(known) and self.follows("steps", drawn, id_, name):
                continue
            if name == "denoise" and drawn == 1 and not self._has_picture():
                continue
            low, high = _range(setting, spec, drawn)
            help_ = f"{setting.help} ('{node.title}')" if setting.name in self.parameters else setting.help
            if spec.kind == "INT":
                made: d.Parameter = d.IntegerParameter(
                    type="integer", minimum=int(low), maximum=int(high), default=int(drawn), help=help_
                )
            else:
                made = d.NumberParameter(
                    type="number", minimum=float(low), maximum=float(high), default=float(drawn), help=help_
                )
            self.offer(setting.name, made, [(id_, name, "value")])

    def _has_picture(self) -> bool:
        return any(isinstance(parameter, d.PictureParameter) for parameter in self.parameters.values())

    def _sampler(self, id_: str, node: Node, known: NodeClass) -> None:
        pair = (node.inputs.get("sampler_name"), node.inputs.get("scheduler"))
        if "sampler_name" not in known.inputs or "scheduler" not in known.inputs or Link in map(type, pair):
            return
        name = next((s.name for s in SAMPLERS if (s.sampler_name, s.scheduler) == pair), None)
        if name is None:
            self.left_out.append(
                f"'{node.title}': {pair[0]} with {pair[1]} has no name among the samplers; it stays as drawn"
            )
            return
        made = d.SamplerParameter(
            type="sampler", default=name, help="The sampler, by its name in Stable Diffusion WebUI."
        )
        self.offer("sampler", made, [(id_, "sampler_name", "sampler_name"), (id_, "scheduler", "scheduler")])

    def _seeds(self) -> None:
        targets = [
            (id_, name, "value")
            for id_, node, known in self.nodes()
            for name in ("seed", "noise_seed")
            if name in known.inputs and type(node.inputs.get(name)) is int
        ]
        help_ = "The same seed with the same settings paints the same picture. -1 draws one, told in the X-Seed header."
        if targets:
            self.offer("seed", d.SeedParameter(type="seed", help=help_), targets)

    def _lora_nodes(self) -> list[str]:
        return [id_ for id_, node in self.graph.nodes.items() if node.class_type == _LORA_LOADER]

    def _takes_loras(self) -> bool:
        """Whether callers may choose the LoRAs: there is one loader, and no LoRA of the artist's is at work in it."""
        found = self._lora_nodes()
        return len(found) == 1 and not _is_at_work(self.graph.nodes[found[0]])

    def _loras(self) -> d.Loras | None:
        found = self._lora_nodes()
        if not found:
            return None
        if len(found) > 1 or not isinstance(self.parameters.get("prompt"), d.PromptParameter):
            self.left_out.append("LoRA tags need one LoRA loader and a prompt; the loaders stay as they are drawn")
            return None
        title = self.titled(found[0])
        if not self._takes_loras():
            # Tags in the prompt would take the place of what the artist sees when the drawing runs.
            said = f"loras: {{parameter: prompt, node: {json.dumps(title, ensure_ascii=False)}}}"
            lora = self.graph.nodes[found[0]].inputs.get("lora_name")
            self.left_out.append(
                f"LoRA tags, as the LoRA in '{title}' ({lora}) is kept as it is drawn; "
                f"the line `{said}` in widget.yaml lets callers' prompts choose LoRAs in its place"
            )
            return None
        return d.Loras(parameter="prompt", node=title)


def _is_at_work(loader: Node) -> bool:
    return any(loader.inputs.get(name) != 0 for name in ("strength_model", "strength_clip"))


def _is_told_steps(known: NodeClass) -> bool:
    """A node that makes conditioning and needs to know in how many steps it is used, such as A1111 Prompt."""
    return "steps" in known.inputs and "CONDITIONING" in known.outputs


def _is_prompt(spec: InputSpec) -> bool:
    return spec.kind == "STRING" and spec.options.get("multiline") is True


def _range(setting: _Setting, spec: InputSpec, drawn: float) -> tuple[float, float]:
    """The usual range, within what the node takes, and with what is drawn in it."""
    low = max(setting.low, spec.minimum if spec.minimum is not None else setting.low)
    high = min(setting.high, spec.maximum if spec.maximum is not None else setting.high)
    return min(low, drawn), max(high, drawn)


def _word(title: str) -> str:
    """A title as a parameter's name."""
    word = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return word if word[:1].isalpha() else "text"
