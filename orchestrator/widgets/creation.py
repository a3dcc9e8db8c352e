"""A new widget's folder from a saved workflow: the drawing, and a widget.yaml to be edited.

Writes files; what to propose is `proposal`'s business.
"""

import json
import re
from pathlib import Path

import yaml

from orchestrator.comfy.catalog import Catalog
from orchestrator.errors import WorkflowError
from orchestrator.widgets import definition as d
from orchestrator.widgets import library
from orchestrator.widgets.conversion import with_titles, without_editor_fields
from orchestrator.widgets.proposal import Proposal, propose

_HEAD = """\
# What callers may set of this workflow. Edit it: delete what they should not set, write help texts, narrow ranges,
# change defaults; a parameter that goes takes its lines under `bindings` with it. Nodes are named by their titles.
# `orchestrator workflows check {name}` says what does not fit. docs/adding-a-workflow.md explains every word.
"""


def create(folder: Path, name: str, file: Path, catalog: Catalog) -> Proposal:
    """Writes `folder/name` with a copy of the saved workflow `file` and the proposed widget.yaml.

    Nodes that share a title get titles of their own in the copy. Raises WorkflowError if the name is taken or makes no
    URL, and if the workflow cannot be read, gives no picture or loads no checkpoint; nothing is written then.
    """
    if not library.NAME.fullmatch(name):
        raise WorkflowError(f"'{name}' cannot be a widget's name: use a-z, 0-9, - and _ only")
    path = folder / name
    if path.exists():
        raise WorkflowError(f"{path} is there already; choose another name, or delete it first")
    graph = without_editor_fields(library.read_graph(file, catalog), catalog)
    proposal = propose(graph, catalog)
    drawing = with_titles(library.read_json(file), proposal.titles)
    try:
        path.mkdir(parents=True)
        (path / "workflow.json").write_text(json.dumps(drawing, indent=2, ensure_ascii=False) + "\n", "utf-8")
        (path / "widget.yaml").write_text(definition_text(name, proposal), "utf-8")
    except OSError as fault:
        raise WorkflowError(f"{path} cannot be written: {fault}") from fault
    return proposal


def definition_text(name: str, proposal: Proposal) -> str:
    """The widget.yaml of a proposal, with comments for the artist."""
    title = re.sub(r"[-_]+", " ", name).strip().capitalize() or name
    parts = [
        _HEAD.format(name=name),
        _yaml({"title": title, "description": f"Say in a sentence what {title} does.", "output": proposal.output}),
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
