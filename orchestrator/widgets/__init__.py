"""Widgets: what a caller asks for by name, as typed parameters in front of one workflow.

definition (widget.yaml) · values (a caller's checked set) · prompt (LoRA tags) · samplers (A1111's names) ·
audit (is the folder sound?) · widget (the three joined) · compile (values → graph) · schema (for people and OpenAPI).
All of it is pure but library, which reads the folders. Knows nothing of models' files, pictures' bytes, jobs or HTTP.
"""
