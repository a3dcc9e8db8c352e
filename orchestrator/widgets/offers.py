"""Which of A1111's samplers a workflow can run: those that every bound node lists in both of its combos. Pure.

A1111 Sampler lists all; core KSampler lacks a schedule or two, and another node may know a handful.
"""

from collections.abc import Iterator, Mapping

from orchestrator.comfy.catalog import Catalog
from orchestrator.comfy.graph import Graph
from orchestrator.widgets import definition as d
from orchestrator.widgets.literals import Unreadable
from orchestrator.widgets.samplers import SAMPLERS, Sampler, find_sampler

Offers = Mapping[str, tuple[Sampler, ...]]
"""Sampler parameter → what callers can ask for."""


def offered_samplers(definition: d.Definition, graph: Graph, nodes: Mapping[str, str], catalog: Catalog) -> Offers:
    """By sampler parameter. A binding to an unknown node, class or input limits nothing: the audit names it."""
    offers = {
        name: SAMPLERS for name, parameter in definition.parameters.items() if isinstance(parameter, d.SamplerParameter)
    }
    for binding in definition.bindings:
        if binding.parameter not in offers or binding.node not in nodes or binding.choices is not None:
            continue
        known = catalog.classes.get(graph.nodes[nodes[binding.node]].class_type)
        spec = None if known is None else known.inputs.get(binding.input)
        if spec is None or spec.choices is None or binding.form not in ("sampler_name", "scheduler"):
            continue
        offers[binding.parameter] = tuple(
            sampler
            for sampler in offers[binding.parameter]
            if (sampler.sampler_name if binding.form == "sampler_name" else sampler.scheduler) in spec.choices
        )
    return offers


def offer_faults(definition: d.Definition, offers: Offers) -> Iterator[str]:
    """A sampler parameter of which nothing is left, or whose default is not among what is."""
    for name, offered in offers.items():
        if not offered:
            yield f"parameters: {name}: no sampler is in the choices of all nodes that it is bound to"
            continue
        default = getattr(definition.parameters[name], "default", None)
        if default is not None:
            try:
                find_sampler(default, offered)
            except Unreadable as fault:
                yield f"parameters: {name}: the default {fault}"
