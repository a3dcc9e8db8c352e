"""From values to the graph that runs: one pure function.

The artist's drawing is taken as it is; bound inputs are set, the LoRA loader is repeated or left out, nodes whose
condition holds are bypassed as ComfyUI's editor does it, and what no longer feeds the output is dropped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator.comfy.graph import Graph, Input, Link, Node
from orchestrator.errors import ModelMismatch
from orchestrator.widgets import definition as d
from orchestrator.widgets.drawing import Changes, draw
from orchestrator.widgets.samplers import Sampler
from orchestrator.widgets.values import Values
from orchestrator.widgets.widget import Widget


@dataclass(frozen=True)
class ChosenLora:
    """A LoRA's file as the backend lists it, and its two weights."""

    file: str
    text_encoder: float
    unet: float


@dataclass(frozen=True)
class ChosenModels:
    """The model files of one run: the checkpoint as the backend lists it, its family, the LoRAs in prompt order."""

    checkpoint: str
    family: str
    loras: tuple[ChosenLora, ...] = ()
    channels: int = 4
    """How many channels the checkpoint's UNet reads; 9 is an inpainting one."""


@dataclass(frozen=True)
class CompiledGraph:
    """What a backend is asked to run; the answer is the picture of `output_node` (an id)."""

    graph: Graph
    output_node: str
    checkpoint: str
    texts: Mapping[str, str]
    """Ids of the nodes that read a prompt or text parameter, and its name."""
    workflow: Mapping[str, object]
    """The same as the editor opens it: JSON in the artist's layout, which runs as the graph."""


def compile_graph(widget: Widget, values: Values, models: ChosenModels, pictures: Mapping[str, str]) -> CompiledGraph:
    """The graph for one run.

    `pictures` maps each given picture and mask parameter to the reference that LoadImage understands.
    Raises ModelMismatch if the workflow is not made for the checkpoint's family.
    """
    if models.family not in widget.families:
        listed = " or ".join(widget.families)
        raise ModelMismatch(f"{widget.name} runs {listed} checkpoints; this one is {models.family}")
    nodes = dict(widget.graph.nodes)
    _bind(nodes, widget, values, models, pictures)
    left_out = _bypassed(widget.definition, values, models)
    loaders: tuple[str, ...] = ()
    if widget.definition.loras is not None:
        title = widget.definition.loras.node
        loaders = _chain_loras(nodes, widget, title, models.loras)
        left_out = left_out if loaders else [title, *left_out]
    for title in left_out:
        _leave_out(nodes, widget, title)
    output = widget.nodes[widget.definition.output]
    graph = Graph(_feeding(nodes, output))
    passage = widget.passages[widget.definition.loras.node] if widget.definition.loras is not None else {}
    changes = Changes(frozenset(widget.nodes[title] for title in left_out), loaders, passage)
    texts = {node: name for node, name in _texts(widget, values) if node in graph.nodes}
    return CompiledGraph(graph, output, models.checkpoint, texts, draw(widget.template, graph, changes))


def start_at_step(steps: int, denoise: float) -> int:
    """KSamplerAdvanced's `start_at_step` that leaves int(min(denoise, 0.999)·steps)+1 of `steps` steps to run.

    A1111's image-to-image arithmetic (setup_img2img_steps, "do exactly the amount of steps" off).
    """
    return steps - 1 - int(min(denoise, 0.999) * steps)


def _bind(
    nodes: dict[str, Node], widget: Widget, values: Values, models: ChosenModels, pictures: Mapping[str, str]
) -> None:
    strengths: list[d.Binding] = []
    for binding in widget.definition.bindings:
        if binding.parameter not in values:
            continue
        if binding.form == "start_at_step":
            strengths.append(binding)
            continue
        value = _bound_value(widget.definition, binding, values, models, pictures)
        if value is not None:
            _set(nodes, widget.nodes[binding.node], binding.input, value)
    for binding in strengths:  # last, for they read the number of steps, which may be bound too
        node = widget.nodes[binding.node]
        steps = nodes[node].inputs["steps"]
        assert isinstance(steps, int), "the audit has seen that `steps` is a number"
        _set(nodes, node, binding.input, start_at_step(steps, values.number(binding.parameter)))


def _texts(widget: Widget, values: Values) -> Iterator[tuple[str, str]]:
    for binding in widget.definition.bindings:
        parameter = widget.definition.parameters[binding.parameter]
        if isinstance(parameter, d.PromptParameter | d.TextParameter) and binding.parameter in values:
            yield widget.nodes[binding.node], binding.parameter


def _bound_value(
    definition: d.Definition, binding: d.Binding, values: Values, models: ChosenModels, pictures: Mapping[str, str]
) -> str | int | float | None:
    """What the input gets; None leaves what the artist drew."""
    name = binding.parameter
    parameter = definition.parameters[name]
    if isinstance(parameter, d.PictureParameter | d.MaskParameter):
        return pictures[name]
    if isinstance(parameter, d.CheckpointParameter) and binding.choices is None:
        return models.checkpoint
    if isinstance(parameter, d.SamplerParameter) and binding.choices is None:
        sampler = values.sampler(name)
        return sampler.sampler_name if binding.form == "sampler_name" else sampler.scheduler
    value = _plain(values, name)
    if binding.choices is not None:
        return next((drawn for key, drawn in binding.choices.items() if key == value), None)
    return -value if binding.form == "negative" and isinstance(value, int) else value


def _plain(values: Values, name: str) -> str | int | float:
    value = values.settled[name]
    if isinstance(value, Sampler):
        return value.name
    assert not isinstance(value, bytes), "only pictures are bytes"
    return value


def _chain_loras(nodes: dict[str, Node], widget: Widget, title: str, loras: tuple[ChosenLora, ...]) -> tuple[str, ...]:
    """Repeats the drawn loader, one for each LoRA; their ids."""
    drawn = widget.nodes[title]
    passage = widget.passages[title]
    consumers = list(nodes)
    chain: list[str] = []
    for number, lora in enumerate(loras, start=1):
        this = drawn if number == 1 else widget.template.free_id(drawn, number - 1)
        inputs: dict[str, Input] = dict(nodes[drawn].inputs)
        if chain:
            inputs |= {name: Link(chain[-1], slot) for slot, name in passage.items()}
        inputs |= {"lora_name": lora.file, "strength_model": lora.unet, "strength_clip": lora.text_encoder}
        nodes[this] = replace(nodes[drawn], inputs=inputs, title=title if number == 1 else f"{title} {number}")
        chain.append(this)
    if chain:
        _rewire(nodes, consumers, {Link(drawn, slot): Link(chain[-1], slot) for slot in passage})
    return tuple(chain)


def _bypassed(definition: d.Definition, values: Values, models: ChosenModels) -> list[str]:
    """The titles of the nodes that are left out, each once."""
    titles = []
    for bypass in definition.bypass:
        told: dict[str, object] = {d.FAMILY: models.family, d.CHANNELS: models.channels}
        known = {name: told.get(name, _plain(values, name) if name in values else None) for name in bypass.when}
        if all(known[name] in listed for name, listed in bypass.when.items()):
            titles.append(bypass.node)
    return list(dict.fromkeys(titles))


def _leave_out(nodes: dict[str, Node], widget: Widget, title: str) -> None:
    """Remove a node; what it fed is fed by the source of its first input of the same type (ComfyUI's bypass)."""
    gone = widget.nodes[title]
    removed = nodes.pop(gone)
    stand_ins: dict[Link, Link] = {}
    for slot, name in widget.passages[title].items():
        source = removed.inputs[name]
        assert isinstance(source, Link), "the audit has seen that it is linked"
        stand_ins[Link(gone, slot)] = source
    _rewire(nodes, list(nodes), stand_ins)


def _rewire(nodes: dict[str, Node], consumers: list[str], stand_ins: Mapping[Link, Link]) -> None:
    for node in consumers:
        inputs = nodes[node].inputs
        if any(isinstance(value, Link) and value in stand_ins for value in inputs.values()):
            changed = {
                name: stand_ins.get(value, value) if isinstance(value, Link) else value
                for name, value in inputs.items()
            }
            nodes[node] = replace(nodes[node], inputs=changed)


def _set(nodes: dict[str, Node], node: str, name: str, value: Input) -> None:
    nodes[node] = replace(nodes[node], inputs={**nodes[node].inputs, name: value})


def _feeding(nodes: Mapping[str, Node], output: str) -> dict[str, Node]:
    """The output node and everything that feeds it, in the drawing's order."""
    needed: set[str] = set()
    waiting = [output]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [value.node for value in nodes[node].inputs.values() if isinstance(value, Link)]
    return {node: nodes[node] for node in nodes if node in needed}
