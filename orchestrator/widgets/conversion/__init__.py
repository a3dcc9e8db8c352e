"""From `workflow.json`, as ComfyUI's editor saves it, to the graph that runs: what the editor's Run would send.

saved (the file) · fields (a class as the editor draws it) · nodes · canvas (subgraphs, primitive) · links · texts ·
convert (all of it). Pure; has never heard of widgets' parameters.
"""

from orchestrator.widgets.conversion.convert import convert, without_editor_fields
from orchestrator.widgets.conversion.saved import with_titles

__all__ = ["convert", "with_titles", "without_editor_fields"]
