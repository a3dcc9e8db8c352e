"""From a compiled graph back to the artist's layout: the workflow that the editor opens and that runs as the graph.

places (where in a saved workflow each input's value stands) · sheet (the workflow's JSON, changed) · loaders (LoRA
loaders placed tidily) · draw (all of it). Pure; knows nothing of jobs.
"""

from orchestrator.widgets.drawing.draw import Changes, draw
from orchestrator.widgets.drawing.places import Template

__all__ = ["Changes", "Template", "draw"]
