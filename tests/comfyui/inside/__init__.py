"""Programs that run inside ComfyUI, with its Python and in its folder; each prints one JSON object."""
