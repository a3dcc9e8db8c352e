"""What A1111 Sampler orders from a host for each of its samplers: solver, levels, noise, turns of the prompt."""

import math
from types import SimpleNamespace

import pytest
import torch

LOW, HIGH = 0.03, 14.6
SEED, STEPS = 41, 10
CORE = {
    "euler": "euler",
    "euler_ancestral": "euler_ancestral",
    "heun": "heun",
    "dpm_2": "dpm_2",
    "dpm_2_ancestral": "dpm_2_ancestral",
    "dpmpp_2s_ancestral": "dpmpp_2s_ancestral",
    "dpmpp_2m": "dpmpp_2m",
    "dpmpp_sde": "dpmpp_sde",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun": "dpmpp_2m_sde_heun",
    "dpmpp_3m_sde": "dpmpp_3m_sde",
    "ddim": "euler",
}
OWN = {
    "lms": ("solvers", "lms"),
    "dpm_fast": ("dpm_solver", "dpm_fast"),
    "dpm_adaptive": ("dpm_solver", "dpm_adaptive"),
    "uni_pc": ("uni_pc", "uni_pc"),
    "lcm": ("lcm", "lcm"),
}
STREAM = ["euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpm_fast", "dpm_adaptive", "lcm"]
BROWNIAN = ["dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"]
TWO_CALLS = ["heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"]


class Recorder:
    """A model that lends itself as a host, whose schedules are even in the logarithm, and keeps the last Run."""

    def sampling_host(self):
        return self

    def bounds(self):
        return LOW, HIGH

    def levels(self, scheduler, steps):
        if scheduler == "ddim_uniform":
            steps = len(range(1, 1000, max(1000 // steps, 1)))
        return torch.cat([torch.linspace(math.log(HIGH), math.log(LOW), steps).exp(), torch.zeros(1)])

    def run(self, run):
        self.ordered = run
        return run.latent + 1


LATENT = torch.arange(32.0).reshape(1, 4, 2, 4)


def text(number, width=768, **turn):
    return [torch.full((1, 77, width), float(number)), turn]


@pytest.fixture
def order(node):
    def make(sampler, scheduler="karras", denoise=0.5, latent=LATENT, mask=None, **changes):
        model = Recorder()
        given = {"samples": latent} if mask is None else {"samples": latent, "noise_mask": mask}
        settings = {"positive": [text(1)], "negative": [text(2)], "noise_source": "cpu", "steps": STEPS, **changes}
        fixed = {"cfg": 3.0, "seed": SEED, "sampler_name": sampler, "scheduler": scheduler, "denoise": denoise}
        (painted,) = node("A1111Sampler").sample(model, latent_image=given, **fixed, **settings)
        return SimpleNamespace(run=model.ordered, painted=painted["samples"])

    return make


def test_these_are_all_samplers_of_the_node(pack):
    assert set(pack.sampler.SAMPLERS) == CORE.keys() | OWN.keys()


@pytest.mark.parametrize("name", CORE)
def test_a_solver_that_is_as_in_webui_is_the_host_s(order, name):
    assert order(name).run.solver == CORE[name]


@pytest.mark.parametrize("name", OWN)
def test_a_solver_that_hosts_lack_or_take_otherwise_is_the_pack_s(pack, order, name):
    module, function = OWN[name]
    assert order(name).run.solver is getattr(getattr(pack, module), function)


@pytest.mark.parametrize("name", [*CORE, *OWN])
@pytest.mark.parametrize("source", ["cpu", "gpu"])
def test_the_first_noise_is_the_seed_s_first(pack, order, name, source):
    run = order(name, noise_source=source).run
    assert torch.equal(run.noise, pack.noise.Streams(source, (SEED,)).draw(LATENT))
    assert run.seed == SEED
    assert torch.equal(run.latent, LATENT)


@pytest.mark.parametrize("name", STREAM)
def test_noise_for_steps_goes_on_where_the_first_ended(pack, order, name):
    run = order(name).run
    streams = pack.noise.Streams("cpu", (SEED,))
    streams.draw(LATENT)
    for _ in range(2):
        assert torch.equal(run.step_noise(torch.tensor(3.0), torch.tensor(2.0)), streams.draw(LATENT))
    assert run.noisy


@pytest.mark.parametrize("name", BROWNIAN)
def test_noise_of_sde_samplers_spans_the_whole_schedule(pack, order, name):
    run = order(name, denoise=0.3).run
    steps = STEPS + (name == "dpmpp_3m_sde")
    schedule = Recorder().levels("karras", steps)
    lowest = schedule[-3] if name == "dpmpp_3m_sde" else schedule[-2]
    path = pack.noise.brownian_noise(LATENT, "cpu", (SEED,), float(lowest), float(schedule[0]))
    between = torch.tensor(0.4), torch.tensor(0.1)
    assert torch.equal(run.step_noise(*between), path(*between))
    assert run.noisy


@pytest.mark.parametrize("name", sorted({*CORE, *OWN} - {*STREAM, *BROWNIAN}))
def test_the_others_take_no_noise(order, name):
    assert not order(name).run.noisy


class Session:
    """Conditioning number n is estimated as n everywhere."""

    latent = torch.full_like(LATENT, 50.0)

    def guided(self, x, sigma, negative, positive, scale):
        self.asked = positive
        return torch.full_like(x, float(positive))


@pytest.mark.parametrize("name", [*CORE, *OWN])
def test_turns_of_a_prompt_are_counted_as_often_as_the_sampler_asks_in_a_step(pack, order, name):
    early = pack.prompt.Turn(0, 1.0, {1: ((0, 0),), 2: ((0, 2),)})
    late = pack.prompt.Turn(0, 1.0, {1: ((1, 99),), 2: ((3, 99),)})
    prompt = [text(0, a1111_turn=early), text(1, a1111_turn=late)]
    run, session = order(name, positive=prompt).run, Session()
    seen = []
    for _ in range(5):
        run.guide(session, torch.zeros_like(LATENT), torch.tensor([1.0]))
        seen.append(session.asked)
    assert seen == ([0, 0, 0, 1, 1] if name in TWO_CALLS else [0, 1, 1, 1, 1])


@pytest.mark.parametrize(("width", "second"), [(768, 6.475), (2048, 6.315)])
def test_align_your_steps_are_those_of_the_family(order, width, second):
    settings = {"positive": [text(1, width)], "negative": [text(2, width)], "steps": 11}
    sigmas = order("euler", "align_your_steps", denoise=1.0, **settings).run.sigmas
    assert float(sigmas[1]) == pytest.approx(second)


def test_only_lcm_walks_the_levels_of_its_distillation_and_reads_the_estimate_so(pack, order):
    few = pack.lcm.distilled_of(Recorder().levels)
    x, sigma, session = torch.full_like(LATENT, 3.0), torch.tensor([2.0]), Session()
    for name in {*CORE, *OWN} - {"uni_pc"}:
        run = order(name, "normal", denoise=1.0).run
        bounds = few.bounds() if name == "lcm" else (LOW, HIGH)
        assert float(run.sigmas[0]) == pytest.approx(bounds[1], rel=1e-5), name
        clean = torch.zeros_like(x)
        expected = few.estimate(lambda x, sigma, clean=clean: clean, x, sigma) if name == "lcm" else clean
        assert torch.equal(run.guide(session, x, sigma), expected), name


def test_the_rest_of_the_picture_is_put_back_after_guidance_and_at_the_end(order):
    mask = torch.zeros(1, 1, 2, 4)
    mask[..., 0] = 1
    made = order("euler", mask=mask)
    inside = mask.expand_as(LATENT) == 1
    assert torch.equal(made.painted, torch.where(inside, LATENT + 1, LATENT))
    clean = made.run.guide(Session(), torch.zeros_like(LATENT), torch.tensor([1.0]))
    assert torch.equal(clean, torch.where(inside, torch.zeros_like(LATENT), Session.latent))


@pytest.mark.parametrize("name", ["ddim", "uni_pc"])
def test_an_empty_latent_under_a_mask_is_still_a_picture_to_paint(order, name):
    empty, steps = torch.zeros_like(LATENT), 30  # of time steps there are 31 then, of which WebUI leaves out one
    settings = {"scheduler": "ddim_uniform", "denoise": 1.0, "latent": empty, "steps": steps}
    masked = order(name, mask=torch.ones(1, 1, 2, 4), **settings).run.sigmas
    text_to_image = order(name, **settings).run.sigmas
    assert (len(masked), len(text_to_image)) == (31, 32)
