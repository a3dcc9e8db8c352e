"""The demo model: a small text-conditioned diffusion model that ships with the project and paints pixel art.

`world` draws what it was trained on, `unet`, `vae` and `text_encoder` are its parts, `train` makes its weights, `build`
expands them into an ordinary SD1.5 checkpoint, `lora` makes its LoRAs in closed form, `judge` tells what it painted.
A program of its own (`python -m orchestrator.demo_model DIR`): the service starts it and never imports it.
"""
