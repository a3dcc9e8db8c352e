"""A1111's sampler names and what the node A1111 Sampler calls the same thing.

A bare name means what it meant up to A1111 1.8: the sampler on the uniform schedule, `normal` here (from 1.9 on a bare
name means the sampler's favourite schedule, which "… Automatic" asks for here; "DPM++ 2M Karras", this project's
default, is a name of the older kind). A name may end in any of A1111's schedule types. Pure.
"""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from orchestrator.widgets.literals import Unreadable, shown


@dataclass(frozen=True)
class Sampler:
    """One of A1111's samplers: its name there, and the pair (`sampler_name`, `scheduler`) that runs.

    `note` is a sentence for callers on what is otherwise than there; most have none.
    """

    name: str
    sampler_name: str
    scheduler: str
    note: str = ""


@dataclass(frozen=True)
class UnfaithfulSampler:
    """A sampler of A1111 that cannot be run as there: its name, the nearest that can, and why."""

    name: str
    nearest: str
    reason: str


# A1111's name → the node's name, and the schedule that A1111 1.9 and later takes by itself.
_K_DIFFUSION = {
    "Euler": ("euler", "normal"),
    "Euler a": ("euler_ancestral", "normal"),
    "LMS": ("lms", "normal"),
    "Heun": ("heun", "normal"),
    "DPM2": ("dpm_2", "karras"),
    "DPM2 a": ("dpm_2_ancestral", "karras"),
    "DPM++ 2S a": ("dpmpp_2s_ancestral", "karras"),
    "DPM++ 2M": ("dpmpp_2m", "karras"),
    "DPM++ SDE": ("dpmpp_sde", "karras"),
    "DPM++ 2M SDE": ("dpmpp_2m_sde", "exponential"),
    "DPM++ 2M SDE Heun": ("dpmpp_2m_sde_heun", "exponential"),
    "DPM++ 3M SDE": ("dpmpp_3m_sde", "exponential"),
    "DPM fast": ("dpm_fast", "normal"),
    "DPM adaptive": ("dpm_adaptive", "normal"),
    "LCM": ("lcm", "normal"),
}
# A1111's schedule types. Its polyexponential one has the exponent 1, which makes it the exponential one.
_SCHEDULES = {
    "": "normal",
    "Uniform": "normal",
    "Karras": "karras",
    "Exponential": "exponential",
    "Polyexponential": "exponential",
    "SGM Uniform": "sgm_uniform",
    "KL Optimal": "kl_optimal",
    "Align Your Steps": "align_your_steps",
    "Simple": "simple",
    "Normal": "normal",
    "DDIM": "ddim_uniform",
    "Beta": "beta",
}
AUTOMATIC = "Automatic"


_LATE_START = (
    "WebUI starts one step lower than it adds noise for, which this service does not; "
    "a schedule type behind the name changes nothing, as there"
)
# Samplers on WebUI's own time steps, which take no schedule type.
_TIME_STEPS = (
    Sampler("DDIM", "ddim", "ddim_uniform", _LATE_START),
    Sampler("UniPC", "uni_pc", "normal", _LATE_START),
)


def _named(name: str, schedule: str) -> str:
    return f"{name} {schedule}".strip()


SAMPLERS: tuple[Sampler, ...] = (
    *(
        Sampler(_named(name, schedule), sampler, scheduler)
        for name, (sampler, _) in _K_DIFFUSION.items()
        for schedule, scheduler in _SCHEDULES.items()
    ),
    *(Sampler(_named(name, AUTOMATIC), sampler, own) for name, (sampler, own) in _K_DIFFUSION.items()),
    *_TIME_STEPS,
)
"""Every sampler a caller can ask for, in the order of the documentation."""

UNFAITHFUL = (
    UnfaithfulSampler("Restart", "Heun Karras", "its jumps back up the schedule are not built"),
    UnfaithfulSampler("PLMS", "LMS", "it is a multistep solver on WebUI's own time steps"),
    UnfaithfulSampler("DDIM CFG++", "DDIM", "its guidance differs from that of all others"),
)
"""Samplers of A1111 that are refused, with the nearest one that runs."""

# The short names of A1111's older API and of the programs written for it.
_ALIASES = {
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "k_euler_ancestral": "Euler a",
    "k_lms": "LMS",
    "k_lms_ka": "LMS Karras",
    "k_heun": "Heun",
    "k_dpm_fast": "DPM fast",
    "k_dpm_ad": "DPM adaptive",
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
    "k_lcm": "LCM",
}


def _folded(name: str) -> str:
    return "".join(name.split()).replace("_", "").casefold()


def _typed(name: str) -> Iterator[str]:
    """The name alone and with each of A1111's schedule types, folded."""
    return (_folded(_named(name, schedule)) for schedule in (*_SCHEDULES, AUTOMATIC))


_BY_NAME = {_folded(sampler.name): sampler for sampler in SAMPLERS}
_BY_NAME.update({name: sampler for sampler in _TIME_STEPS for name in _typed(sampler.name)})
_BY_NAME.update({_folded(alias): _BY_NAME[_folded(name)] for alias, name in _ALIASES.items()})
SHORT_NAMES: dict[str, tuple[str, ...]] = {
    name: tuple(alias for alias, meant in _ALIASES.items() if meant == name) for name in _ALIASES.values()
}
"""A1111's name → the short names that mean it."""
_NOT_RUN = {name: sampler for sampler in UNFAITHFUL for name in _typed(sampler.name)}
_NOT_RUN["ddimcfgpp"] = _NOT_RUN[_folded("DDIM CFG++")]


def find_sampler(name: str, offered: Collection[Sampler] = SAMPLERS) -> Sampler:
    """The sampler of that A1111 name (or old short name); case, blanks and underscores do not matter.

    Raises Unreadable naming the nearest of the `offered` samplers for a name that is unknown, that cannot be run as
    A1111 runs it, or that is not offered.
    """
    key = _folded(name)
    if key in _BY_NAME:
        sampler = _BY_NAME[key]
        if sampler in offered:
            return sampler
        near = _nearest(sampler, offered).name
        raise Unreadable(f'"{sampler.name}" is not in the choices of this workflow\'s node; the nearest is "{near}"')
    if key in _NOT_RUN:
        known = _NOT_RUN[key]
        near = _nearest(_BY_NAME[_folded(known.nearest)], offered).name
        raise Unreadable(
            f'"{known.name}" cannot be run here as A1111 runs it ({known.reason}); the nearest is "{near}"'
        )
    listed_names = {short: sampler for short, sampler in _BY_NAME.items() if sampler in offered}
    close = difflib.get_close_matches(key[:80], list(listed_names), n=6, cutoff=0.3) or list(listed_names)[:3]
    names = list(dict.fromkeys(listed_names[match].name for match in close))[:3]
    listed = ", ".join(f'"{name}"' for name in names)
    raise Unreadable(f"there is no sampler {shown(name)}; the nearest are {listed}")


def _nearest(wanted: Sampler, offered: Collection[Sampler]) -> Sampler:
    """The sampler itself if it is offered, else its solver with another schedule, else its schedule, else any."""
    return max(
        offered,
        key=lambda sampler: (
            sampler == wanted,
            sampler.sampler_name == wanted.sampler_name,
            sampler.scheduler == wanted.scheduler,
            sampler.scheduler == "karras",
        ),
    )
