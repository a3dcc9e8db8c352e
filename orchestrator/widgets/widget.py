"""A widget: one folder's definition and graph, audited, with all that compiling needs to know beforehand. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.comfy.graph import Graph
from orchestrator.widgets.definition import Definition
from orchestrator.widgets.drawing import Template
from orchestrator.widgets.samplers import Sampler
from orchestrator.widgets.values import Checked, check


@dataclass(frozen=True)
class Widget:
    """What a caller asks for by name. Made by the audit, so every title, input and link in it holds."""

    name: str
    definition: Definition
    graph: Graph
    """The workflow as it was drawn."""
    template: Template
    """Its layout, in which a job's values can be shown."""
    nodes: Mapping[str, str]
    """Title → id of each node that the definition names."""
    passages: Mapping[str, Mapping[int, str]]
    """Title of each node that can be left out → for each of its outputs, the input whose source stands in for it."""
    samplers: Mapping[str, tuple[Sampler, ...]]
    """Sampler parameter → those that the nodes it is bound to can run."""

    @property
    def title(self) -> str:
        """A few words for people."""
        return self.definition.title

    @property
    def description(self) -> str:
        """What it does, for people."""
        return self.definition.description

    @property
    def families(self) -> tuple[str, ...]:
        """The model families that the workflow runs."""
        return self.definition.families

    def check(self, raw: Mapping[str, object], randomness: random.Random | None = None) -> Checked:
        """The values that a caller's `raw` means; InvalidParameters names every bad field at once."""
        return check(self.definition, raw, randomness, self.samplers)
