"""A1111's sampler names and what ComfyUI calls the same thing.

A bare name means what it meant up to A1111 1.8: the sampler on the uniform schedule, which ComfyUI calls `normal`
(from 1.9 on a bare name means the sampler's favourite schedule; "DPM++ 2M Karras", this project's default, is a name
of the older kind). Only pairs that every backend of this project runs are listed. Pure.
"""

import difflib
from dataclasses import dataclass

from orchestrator.widgets.literals import Unreadable, shown


@dataclass(frozen=True)
class Sampler:
    """One of A1111's samplers: its name there, and ComfyUI's pair (`sampler_name`, `scheduler`) for it."""

    name: str
    sampler_name: str
    scheduler: str


# A1111's name → ComfyUI's sampler. DPM2 and DPM2 a leave out the last sigma but one, in ComfyUI's KSampler nodes too;
# DPM++ 3M SDE does so in A1111 only, so its last step is a little longer here.
_K_DIFFUSION = {
    "Euler": "euler",
    "Euler a": "euler_ancestral",
    "LMS": "lms",
    "Heun": "heun",
    "DPM2": "dpm_2",
    "DPM2 a": "dpm_2_ancestral",
    "DPM++ 2S a": "dpmpp_2s_ancestral",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde_heun",
    "DPM++ 3M SDE": "dpmpp_3m_sde",
}
_SCHEDULES = {"": "normal", " Karras": "karras", " Exponential": "exponential"}

SAMPLERS: tuple[Sampler, ...] = (
    *(
        Sampler(name + suffix, sampler, schedule)
        for name, sampler in _K_DIFFUSION.items()
        for suffix, schedule in _SCHEDULES.items()
    ),
    Sampler("DDIM", "ddim", "ddim_uniform"),
)
"""Every sampler a caller can ask for, in the order of the documentation."""

# Names A1111 has (or had) whose result no stock node gives, and the listed name that comes nearest: Restart is Heun on
# a Karras schedule that jumps back; PLMS and UniPC are multistep solvers; LCM draws new noise after each step; DPM fast
# and DPM adaptive run with eta = 1 in A1111.
_NEAREST = {
    "Restart": "Heun Karras",
    "PLMS": "LMS",
    "DDIM CFG++": "DDIM",
    "UniPC": "DPM++ 2M",
    "LCM": "Euler a",
    "DPM fast": "DPM++ 2S a",
    "DPM adaptive": "DPM++ 2M Karras",
}

# The short names of A1111's older API and of the programs written for it.
_ALIASES = {
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "k_euler_ancestral": "Euler a",
    "k_lms": "LMS",
    "k_lms_ka": "LMS Karras",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ka": "DPM2 Karras",
    "k_dpm_2_a": "DPM2 a",
    "k_dpm_2_a_ka": "DPM2 a Karras",
    "k_dpmpp_2s_a": "DPM++ 2S a",
    "k_dpmpp_2s_a_ka": "DPM++ 2S a Karras",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_ka": "DPM++ 2M Karras",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpmpp_sde_ka": "DPM++ SDE Karras",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_2m_sde_ka": "DPM++ 2M SDE Karras",
    "k_dpmpp_2m_sde_exp": "DPM++ 2M SDE Exponential",
    "k_dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "k_dpmpp_2m_sde_heun_ka": "DPM++ 2M SDE Heun Karras",
    "k_dpmpp_2m_sde_heun_exp": "DPM++ 2M SDE Heun Exponential",
    "k_dpmpp_3m_sde": "DPM++ 3M SDE",
    "k_dpmpp_3m_sde_ka": "DPM++ 3M SDE Karras",
    "k_dpmpp_3m_sde_exp": "DPM++ 3M SDE Exponential",
}


def _folded(name: str) -> str:
    return "".join(name.split()).casefold()


_BY_NAME = {_folded(sampler.name): sampler for sampler in SAMPLERS}
_BY_NAME.update({alias: _BY_NAME[_folded(name)] for alias, name in _ALIASES.items()})
_NOT_RUN = {_folded(name): name for name in _NEAREST}


def find_sampler(name: str) -> Sampler:
    """The sampler of that A1111 name (or old short name); case and blanks do not matter.

    Raises Unreadable naming the nearest samplers for a name that is unknown or cannot be run as A1111 runs it.
    """
    key = _folded(name)
    if key in _BY_NAME:
        return _BY_NAME[key]
    if key in _NOT_RUN:
        known = _NOT_RUN[key]
        raise Unreadable(f'"{known}" cannot be run here as A1111 runs it; the nearest is "{_NEAREST[known]}"')
    near = difflib.get_close_matches(key[:80], list(_BY_NAME), n=6, cutoff=0.3) or list(_BY_NAME)[:3]
    names = list(dict.fromkeys(_BY_NAME[match].name for match in near))[:3]
    listed = ", ".join(f'"{name}"' for name in names)
    raise Unreadable(f"there is no sampler {shown(name)}; the nearest are {listed}")
