"""The solvers by ComfyUI's names. Knows no model and no schedule."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from orchestrator.embedded import samplers_ode as ode
from orchestrator.embedded import samplers_sde as sde

_Ode: TypeAlias = Callable[[ode.Denoise, Tensor, Tensor, ode.Report], Tensor]
_Sde: TypeAlias = Callable[[ode.Denoise, Tensor, Tensor, ode.Report, sde.NoiseSource], Tensor]

_ODE: dict[str, _Ode] = {
    "euler": ode.euler,
    "heun": ode.heun,
    "dpm_2": ode.dpm_2,
    "lms": ode.lms,
    "dpmpp_2m": ode.dpmpp_2m,
    "ddim": ode.euler,  # the same step; what differs is the noise outside of the mask
}
_ANCESTRAL: dict[str, _Sde] = {
    "euler_ancestral": sde.euler_ancestral,
    "dpm_2_ancestral": sde.dpm_2_ancestral,
    "dpmpp_2s_ancestral": sde.dpmpp_2s_ancestral,
}
BROWNIAN: dict[str, _Sde] = {
    "dpmpp_sde": sde.dpmpp_sde,
    "dpmpp_2m_sde": sde.dpmpp_2m_sde,
    "dpmpp_2m_sde_heun": sde.dpmpp_2m_sde_heun,
    "dpmpp_3m_sde": sde.dpmpp_3m_sde,
}
SAMPLERS = (
    "euler",
    "euler_ancestral",
    "heun",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun",
    "dpmpp_3m_sde",
    "ddim",
)


def solve(
    name: str, denoise: ode.Denoise, x: Tensor, sigmas: Tensor, report: ode.Report, noise: sde.NoiseSource
) -> Tensor:
    """Walks `sigmas` with the solver of that name; `noise` is asked by those that add some."""
    if name in _ODE:
        return _ODE[name](denoise, x, sigmas, report)
    return (_ANCESTRAL | BROWNIAN)[name](denoise, x, sigmas, report, noise)
