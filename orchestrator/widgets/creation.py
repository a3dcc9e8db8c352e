"""A new widget's folder from a saved workflow: the drawing, and a widget.yaml to be edited.

Writes files; what to propose is `proposal`'s business.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph
from orchestrator.errors import WorkflowError
from orchestrator.widgets import definition as d
from orchestrator.widgets import library
from orchestrator.widgets.conversion import with_titles, without_editor_fields
from orchestrator.widgets.proposal import Proposal, propose

_HEAD = """\
# What callers may set of this workflow. Edit it: say what it does, delete what they should not set, write help texts,
# narrow ranges, change defaults. A text with ": " or "#" in it needs quotes around it. A parameter that goes takes its
# lines under `bindings` with it. Nodes are named by their titles.
# `orchestrator workflows check {name}` says what does not fit. docs/adding-a-workflow.md explains every word.
"""


@dataclass(frozen=True)
class Words:
    """How people read of the widget; empty for what its name says."""

    title: str = ""
    description: str = ""


@dataclass(frozen=True)
class Draft:
    """What a new widget's folder would hold, and the proposal that it is made of."""

    drawing: str
    definition: str
    proposal: Proposal
    sentences: tuple[str, ...]
    """What the artist should know of it."""


def draft(name: str, workflow: object, graph: Graph, catalog: Catalog, words: Words | None = None) -> Draft:
    """The files of a new widget for a saved workflow, which runs as `graph`; `words` are the artist's own.

    Nodes that share a title get titles of their own. Raises WorkflowError if the name makes no URL, and if the workflow
    gives no picture or loads no checkpoint.
    """
    if not library.NAME.fullmatch(name):
        raise WorkflowError(f"'{name}' cannot be a widget's name: use a-z, 0-9, - and _ only")
    proposal = propose(graph, catalog)
    drawing = drawing_text(with_titles(workflow, proposal.titles))
    left_out = (f"Not proposed: {sentence}." for sentence in proposal.left_out)
    sentences = (*titled_sentences(graph, proposal.titles), *left_out)
    return Draft(drawing, definition_text(name, proposal, words), proposal, sentences)


def titled_sentences(graph: Graph, titles: Mapping[str, str]) -> list[str]:
    """What to say of the nodes that get new titles, by id."""
    return [
        f"The node '{graph.nodes[id_].title}' ({id_}) is titled '{title}' in the widget."
        for id_, title in titles.items()
    ]


def create(folder: Path, name: str, file: Path, catalog: Catalog) -> Draft:
    """Writes `folder/name` with a copy of the saved workflow `file` and the proposed widget.yaml.

    Raises WorkflowError as `draft` does, if the name is taken, and if the workflow cannot be read; nothing is written
    then.
    """
    path = folder / name
    if library.NAME.fullmatch(name) and path.exists():
        raise WorkflowError(f"{path} is there already; choose another name, or delete it first")
    graph = without_editor_fields(library.read_graph(file, catalog), catalog)
    made = draft(name, library.read_json(file), graph, catalog)
    try:
        path.mkdir(parents=True)
        (path / "workflow.json").write_text(made.drawing, "utf-8")
        (path / "widget.yaml").write_text(made.definition, "utf-8")
    except OSError as fault:
        raise WorkflowError(f"{path} cannot be written: {fault}") from fault
    return made


def drawing_text(workflow: object) -> str:
    """The workflow.json of a saved workflow."""
    return json.dumps(workflow, indent=2, ensure_ascii=False) + "\n"


def definition_text(name: str, proposal: Proposal, words: Words | None = None) -> str:
    """The widget.yaml of a proposal, with comments for the artist."""
    words = words or Words()
    title = words.title or re.sub(r"[-_]+", " ", name).strip().capitalize() or name
    description = words.description or "Drawn in ComfyUI's editor."
    parts = [
        _HEAD.format(name=name),
        _yaml({"title": title, "description": description, "output": proposal.output}),
        "# The model families that the workflow runs; delete the one that it does not.\nfamilies: [sd15, sdxl]\n",
        "parameters:\n",
        *(_indented(_yaml({word: _said(parameter)})) for word, parameter in proposal.parameters.items()),
        "\nbindings:\n",
        *(f"  - {_flow(_binding(binding))}\n" for binding in proposal.bindings),
    ]
    if proposal.loras is not None:
        parts.append(
            "\n# The LoRA loader is repeated for each <lora:...> tag in the prompt, and left out if there is none.\n"
            f"loras: {_flow({'parameter': proposal.loras.parameter, 'node': proposal.loras.node})}\n"
        )
    if proposal.left_out:
        parts.append("\n# Not proposed:\n")
        parts += [f"# - {line}\n" for sentence in proposal.left_out for line in sentence.splitlines()]
    return "".join(parts)


def with_words(definition: str, words: Words) -> str:
    """A widget.yaml, which is sound, with the words that are not empty in the place of its own; all else stays."""
    root = yaml.compose(definition, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode), "a sound one is a mapping"
    values = {key.value: value for key, value in root.value if key.value in ("title", "description")}
    # From the end, so that the places of the others stay right.
    for name, value in sorted(values.items(), key=lambda at: -at[1].start_mark.index):
        if word := getattr(words, name):
            start, end = value.start_mark.index, value.end_mark.index
            # The mark of a block text is where the next key begins.
            lines = definition[start:end][len(definition[start:end].rstrip()) :]
            definition = f"{definition[:start]}{json.dumps(word, ensure_ascii=False)}{lines}{definition[end:]}"
    return definition


def _said(parameter: d.Parameter) -> dict[str, object]:
    """What is worth writing of a parameter, the kind first and the help last."""
    said = parameter.model_dump(exclude_none=True, exclude={"help", "longest", "type"})
    for flag in ("required", "advanced"):
        if said.get(flag) is False:
            del said[flag]
    return {"type": parameter.type, **said, "help": parameter.help}


def _binding(binding: d.Binding) -> dict[str, object]:
    said: dict[str, object] = {"parameter": binding.parameter, "node": binding.node, "input": binding.input}
    return said if binding.form == "value" else said | {"as": binding.form}


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000)


def _flow(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=True).strip()


def _indented(text: str) -> str:
    return "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True))
