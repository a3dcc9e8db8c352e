"""Samples with A1111 Sampler and with core KSampler (Advanced) in one process, and prints how far apart they are.

Arguments: see `start`. Latents are compared in float32, which no picture could carry.
"""

import json

from start import checkpoint, pack

# isort: split
import comfy.sd
import nodes
import numpy as np
import torch

DETERMINISTIC = ["euler", "heun", "dpm_2", "dpmpp_2m"]
NOISY = ["euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral"]
BROWNIAN = ["dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"]
STEPS, DENOISE, SEED = 8, 0.6, 20261122


def distilled(model):
    """ComfyUI's own reading of a model as LCM."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    return ModelSamplingDiscrete().patch(model, "lcm", False)[0]


def lcm_apart(model, ours, theirs, latent) -> float:
    """How far A1111 Sampler is from ComfyUI's LCM over eight steps, by its range; with our noise, without a mask."""
    import comfy.k_diffusion.sampling
    import comfy.samplers

    painted = ours("lcm", "normal", given=latent, denoise=1.0)
    noise = pack.noise.Streams("cpu", (SEED,))
    first = noise.draw(latent["samples"])
    patched = distilled(model)
    sampling = patched.get_model_object("model_sampling")
    times = torch.linspace(999, 19, STEPS)
    sigmas = torch.tensor([*(float(sampling.sigma(time)) for time in times), 0.0])
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(*theirs)
    guider.set_cfg(4.0)

    class Start(comfy.samplers.KSAMPLER):
        def max_denoise(self, model_wrap, sigmas):
            return False  # as A1111 starts

    solver = Start(comfy.k_diffusion.sampling.sample_lcm, {"noise_sampler": noise.step_noise(latent["samples"])})
    core = guider.sample(first, latent["samples"], solver, sigmas, seed=SEED)
    return float((core - painted).abs().max() / core.abs().max())


def core_uni_pc(model, theirs, given, denoise: float) -> torch.Tensor:
    """ComfyUI's UniPC over the levels that WebUI's would walk if it started where it adds noise for."""
    import comfy.sample
    import comfy.samplers

    trained = model.get_model_object("model_sampling").sigmas.double().numpy()
    encoded = int(min(denoise, 0.999) * STEPS)
    times = np.linspace(1 + encoded * (1000 // STEPS), 0, encoded + 2)
    log_alpha = np.interp(times, np.arange(1000), -np.log1p(trained**2) / 2)
    sigmas = torch.from_numpy(np.sqrt(np.expm1(-2 * log_alpha))).float()
    noise = comfy.sample.prepare_noise(given["samples"], SEED)
    solver, mask = comfy.samplers.sampler_object("uni_pc"), given.get("noise_mask")
    fixed = (solver, sigmas, *theirs, given["samples"])
    return comfy.sample.sample_custom(model, noise, 4.0, *fixed, noise_mask=mask, seed=SEED)


@torch.inference_mode()
def main() -> None:
    model, clip, *_ = comfy.sd.load_checkpoint_guess_config(checkpoint, output_vae=False)
    draw = torch.Generator().manual_seed(3)
    latent = {"samples": torch.randn((1, 4, 8, 8), generator=draw) * 3}
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 1:7] = 1
    masked = {**latent, "noise_mask": mask}
    encode = pack.NODE_CLASS_MAPPINGS["A1111Prompt"]().encode
    core = nodes.CLIPTextEncode().encode
    ours = [encode(clip, "a red heart", "positive", STEPS)[0], encode(clip, "a star", "negative", STEPS)[0]]
    theirs = [core(clip, "a red heart")[0], core(clip, "a star")[0]]
    sampler = pack.NODE_CLASS_MAPPINGS["A1111Sampler"]()

    def a1111(name: str, scheduler: str = "karras", given=masked, **changes: object) -> torch.Tensor:
        settings = {
            "seed": SEED,
            "steps": STEPS,
            "cfg": 4.0,
            "scheduler": scheduler,
            "positive": ours[0],
            "negative": ours[1],
            "denoise": DENOISE,
            "noise_source": "cpu",
        }
        return sampler.sample(model, sampler_name=name, latent_image=given, **{**settings, **changes})[0]["samples"]

    def advanced(name: str, scheduler: str = "karras", given=masked) -> torch.Tensor:
        start = STEPS - 1 - int(min(DENOISE, 0.999) * STEPS)
        fixed = (STEPS, 4.0, name, scheduler, *theirs, given, start, 10000, "disable")
        return nodes.KSamplerAdvanced().sample(model, "enable", SEED, *fixed)[0]["samples"]

    def apart(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one - other).abs().max())

    report: dict[str, object] = {"prompt": apart(ours[0][0][0], theirs[0][0][0])}
    report["deterministic"] = {
        f"{name} {scheduler}": apart(a1111(name, scheduler), advanced(name, scheduler))
        for name in DETERMINISTIC
        for scheduler in (("karras", "normal", "sgm_uniform", "ddim_uniform") if name == "euler" else ("karras",))
    }
    report["scale"] = float(a1111("euler").abs().max())
    inside = mask.expand_as(latent["samples"]) == 1
    pair = a1111("uni_pc"), core_uni_pc(model, theirs, masked, DENOISE)
    whole = a1111("uni_pc", given=latent, denoise=1.0), core_uni_pc(model, theirs, latent, 1.0)
    report["uni_pc"] = {
        # Beyond the mask core leaves the noise of the last level, which is above zero.
        "hard mask": apart(*(one[inside] for one in pair)),
        "no mask": apart(*whole),
    }
    report["lms"] = apart(a1111("lms"), advanced("lms"))
    report["ddim"] = apart(a1111("ddim", "ddim_uniform"), advanced("euler", "ddim_uniform"))
    report["no mask"] = apart(a1111("dpmpp_2m", given=latent), advanced("dpmpp_2m", given=latent))
    report["stochastic"] = {name: apart(a1111(name), advanced(name)) for name in NOISY + BROWNIAN}
    outside = mask.expand_as(latent["samples"]) == 0
    report["outside"] = max(
        apart(a1111(name)[outside], latent["samples"][outside])
        for name in [*DETERMINISTIC, *NOISY, *BROWNIAN, "uni_pc"]
    )
    report["repeat"] = max(apart(a1111(name), a1111(name)) for name in NOISY + BROWNIAN)
    same = encode(clip, "a red heart :0.75 AND a red heart :0.25", "positive", STEPS)[0]
    report["AND of the same"] = apart(a1111("euler", positive=same), a1111("euler"))
    other = encode(clip, "a red heart AND a blue star", "positive", STEPS)[0]
    report["AND of another"] = apart(a1111("euler", positive=other), a1111("euler"))
    late = encode(clip, "[a red heart:a blue star:0.9]", "positive", STEPS)[0]
    report["edited too late"] = apart(a1111("euler", positive=late), a1111("euler"))
    early = encode(clip, "[a red heart:a blue star:0.1]", "positive", STEPS)[0]
    report["edited early"] = apart(a1111("euler", positive=early), a1111("euler"))
    report["lcm"] = lcm_apart(model, a1111, theirs, latent)
    report["gpu noise"] = apart(a1111("dpmpp_sde", noise_source="gpu"), a1111("dpmpp_sde"))
    print(json.dumps(report))


main()
