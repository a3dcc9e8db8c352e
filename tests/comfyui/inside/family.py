"""Loads one SDXL-shaped checkpoint in a real ComfyUI and prints what it saw in it and what its UNet is told.

Arguments: see `start`.
"""

import json

from start import checkpoint, pack

# isort: split
import comfy.sd
import torch


@torch.inference_mode()
def main() -> None:
    model, clip, *_ = comfy.sd.load_checkpoint_guess_config(checkpoint, output_vae=False)
    sampling = model.get_model_object("model_sampling")
    seen: list[dict[str, torch.Tensor]] = []

    def wrapper(apply, arguments):
        seen.append({key: value for key, value in arguments["c"].items() if isinstance(value, torch.Tensor)})
        seen[-1] |= {"timestep": arguments["timestep"], "input": arguments["input"]}
        return apply(arguments["input"], arguments["timestep"], **arguments["c"])

    model.set_model_unet_function_wrapper(wrapper)
    encode = pack.NODE_CLASS_MAPPINGS["A1111Prompt"]().encode
    positive, other = (encode(clip, text, "positive", 2)[0] for text in ("a red heart", "a blue star"))
    (empty,) = encode(clip, "", "negative", 2)
    latent = {"samples": torch.zeros(1, 4, 8, 12)}
    sampler = pack.NODE_CLASS_MAPPINGS["A1111Sampler"]()
    (sampled,) = sampler.sample(model, 7, 2, 4.0, "dpmpp_2m", "karras", positive, empty, latent, 1.0, "cpu")
    states, pooled = positive[0][0], positive[0][1]["pooled_output"]
    apart = (states - other[0][0]).abs().amax((0, 1))
    told = torch.cat([call["y"] for call in seen])
    report = {
        "model": type(model.model).__name__,
        "sampling": [base.__name__ for base in type(sampling).__mro__],
        "latent": type(model.model.latent_format).__name__,
        "bounds": [float(sampling.sigma_min), float(sampling.sigma_max)],
        "sigma_data": float(getattr(sampling, "sigma_data", 1.0)),
        "channels": model.model.model_config.unet_config["in_channels"],
        "states": list(states.shape),
        "encoders apart": [float(apart[:768].max()), float(apart[768:].max())],
        "empty": float(empty[0][0].abs().max() + empty[0][1]["pooled_output"].abs().max()),
        "pooled": min(float((row[:1280] - pooled[0]).abs().max()) for row in told.float()),
        "sizes": told[0, 1280:].float().tolist(),
        "calls": len(seen),
        "finite": bool(sampled["samples"].isfinite().all()),
        "std": float(sampled["samples"].std()),
    }
    print(json.dumps(report))


main()
