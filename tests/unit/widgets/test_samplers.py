"""A1111's sampler names."""

import pytest

from orchestrator.widgets.literals import Unreadable
from orchestrator.widgets.samplers import SAMPLERS, Sampler, find_sampler

SAMPLER_NAMES = {
    *("euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms", "ddim"),
    *("dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"),
    *("dpm_fast", "dpm_adaptive", "lcm", "uni_pc"),
}
SCHEDULERS = {
    *("normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform"),
    *("beta", "kl_optimal", "align_your_steps"),
}


@pytest.mark.parametrize(
    ("name", "sampler_name", "scheduler"),
    [
        ("Euler", "euler", "normal"),
        ("Euler a", "euler_ancestral", "normal"),
        ("LMS Karras", "lms", "karras"),
        ("DPM2", "dpm_2", "normal"),
        ("DPM2 a Karras", "dpm_2_ancestral", "karras"),
        ("DPM++ 2M", "dpmpp_2m", "normal"),
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"),
        ("DPM++ 2M SDE Heun Karras", "dpmpp_2m_sde_heun", "karras"),
        ("DPM++ 3M SDE", "dpmpp_3m_sde", "normal"),
        ("DDIM", "ddim", "ddim_uniform"),
        ("Euler SGM Uniform", "euler", "sgm_uniform"),
        ("DPM++ 2M Align Your Steps", "dpmpp_2m", "align_your_steps"),
        ("DPM++ 2M Automatic", "dpmpp_2m", "karras"),
        ("DPM++ 3M SDE Automatic", "dpmpp_3m_sde", "exponential"),
        ("Euler Polyexponential", "euler", "exponential"),
        ("k_dpmpp_2m_ka", "dpmpp_2m", "karras"),
        ("k_euler_a", "euler_ancestral", "normal"),
        ("UniPC", "uni_pc", "normal"),
        ("uni_pc", "uni_pc", "normal"),
        ("UniPC Karras", "uni_pc", "normal"),
        ("UniPC SGM Uniform", "uni_pc", "normal"),
        ("DDIM Automatic", "ddim", "ddim_uniform"),
        ("DDIM Karras", "ddim", "ddim_uniform"),
        ("DDIM Uniform", "ddim", "ddim_uniform"),
        ("Euler sgm_uniform", "euler", "sgm_uniform"),
        ("DPM++ 2M align_your_steps", "dpmpp_2m", "align_your_steps"),
        ("DPM++ 2M SDE Heun kl_optimal", "dpmpp_2m_sde_heun", "kl_optimal"),
    ],
)
def test_a_name_means_comfyuis_pair(name: str, sampler_name: str, scheduler: str) -> None:
    found = find_sampler(name)
    assert (found.sampler_name, found.scheduler) == (sampler_name, scheduler)


@pytest.mark.parametrize(
    "name", ["dpm++ 2m karras", " DPM++  2M   Karras ", "DPM++2MKARRAS", "K_DPMPP_2M_KA", "dpm++_2m_karras"]
)
def test_case_blanks_and_underscores_do_not_matter(name: str) -> None:
    assert find_sampler(name) == Sampler("DPM++ 2M Karras", "dpmpp_2m", "karras")


def test_only_what_every_backend_offers_is_listed() -> None:
    assert {sampler.sampler_name for sampler in SAMPLERS} == SAMPLER_NAMES
    assert {sampler.scheduler for sampler in SAMPLERS} <= SCHEDULERS
    assert len({sampler.name for sampler in SAMPLERS}) == len(SAMPLERS) == 15 * 13 + 2


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Restart", "Heun Karras"),
        ("Restart Karras", "Heun Karras"),
        ("plms", "LMS"),
        ("PLMS Automatic", "LMS"),
        ("DDIM CFG++", "DDIM"),
        ("ddim_cfgpp", "DDIM"),
        ("DDIM CFG++ sgm_uniform", "DDIM"),
    ],
)
def test_a_sampler_that_cannot_be_run_faithfully_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(Unreadable, match="cannot be run here") as fault:
        find_sampler(name)
    assert f'the nearest is "{nearest}"' in str(fault.value)


@pytest.mark.parametrize(
    ("name", "nearest"), [("DPM++ 2M Karas", '"DPM++ 2M Karras"'), ("Euler b", '"Euler a"'), ("Eular", '"Euler"')]
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(Unreadable, match="there is no sampler") as fault:
        find_sampler(name)
    assert nearest in str(fault.value)


@pytest.mark.parametrize("name", ["", "?", "x" * 100_000])
def test_a_name_that_resembles_nothing_still_gets_an_answer(name: str) -> None:
    with pytest.raises(Unreadable, match="the nearest are") as fault:
        find_sampler(name)
    assert len(str(fault.value)) < 250


def test_no_two_names_are_read_as_one() -> None:
    assert [find_sampler(sampler.name) for sampler in SAMPLERS] == list(SAMPLERS)
