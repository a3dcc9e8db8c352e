"""Loaders of kinds of models that do not run here. ComfyUI's editor does not draw a combo box without their classes.

Each describes itself as ComfyUI's does where it has no such model: nothing to choose from, so that a graph with one is
refused by the validation, before anything runs.
"""

from orchestrator.embedded.catalogue import InputSpec, NodeClass, Result
from orchestrator.embedded.unsupported import UnsupportedModel

_WEIGHTS = InputSpec("weight_dtype", ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"])


def _refuse(**chosen: str) -> Result:
    raise UnsupportedModel(f"{', '.join(chosen.values())}: the embedded backend cannot load models of this kind.")


def _loader(
    name: str, title: str, choice: str, outputs: tuple[str, ...], category: str = "loaders", module: str = "nodes"
) -> NodeClass:
    further = (_WEIGHTS,) if name == "UNETLoader" else ()
    return NodeClass(
        name=name,
        title=title,
        category=category,
        inputs=lambda: (InputSpec(choice, []), *further),
        outputs=outputs,
        make=lambda: _refuse,
        module=module,
    )


def classes() -> tuple[NodeClass, ...]:
    """Those that the editor looks for."""
    video, upscaling = "comfy_extras.nodes_video_model", "comfy_extras.nodes_upscale_model"
    return (
        _loader(
            "ImageOnlyCheckpointLoader",
            "Image Only Checkpoint Loader (img2vid model)",
            "ckpt_name",
            ("MODEL", "CLIP_VISION", "VAE"),
            "loaders/video_models",
            video,
        ),
        _loader("VAELoader", "Load VAE", "vae_name", ("VAE",)),
        _loader("ControlNetLoader", "Load ControlNet Model", "control_net_name", ("CONTROL_NET",)),
        _loader("UNETLoader", "Load Diffusion Model", "unet_name", ("MODEL",), "advanced/loaders"),
        _loader("UpscaleModelLoader", "Load Upscale Model", "model_name", ("UPSCALE_MODEL",), module=upscaling),
        _loader("StyleModelLoader", "Load Style Model", "style_model_name", ("STYLE_MODEL",)),
        _loader("GLIGENLoader", "GLIGENLoader", "gligen_name", ("GLIGEN",)),
    )
