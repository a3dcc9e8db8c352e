"""What A1111 Sampler is made of, against independent restatements in plain numpy."""

import itertools
import math

import numpy as np
import pytest
import torch

CUDA_SEED_0 = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086473, -0.57972564, -0.62285122, -0.32838709]
"""torch.manual_seed(0); torch.randn(8, device="cuda"), as NVIDIA cards draw it."""


def words(values):
    return [int(value) & 0xFFFFFFFF for value in values]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers that Random123 ships for philox4x32-10
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_answers(pack, counter, key, expected):
    assert words(pack.noise.philox(counter, key)) == expected


def test_gpu_noise_is_what_a_cuda_card_draws(pack):
    assert pack.noise.GpuStream(0).draw((8,)).tolist() == pytest.approx(CUDA_SEED_0, abs=1e-5)


@pytest.mark.parametrize("source", ["cpu", "gpu"])
def test_streams_go_on_and_each_picture_has_its_own(pack, source):
    like = torch.zeros(2, 4, 3, 5)
    streams = pack.noise.Streams(source, (7, 8))
    first, second = streams.draw(like), streams.step_noise(like)(torch.tensor(2.0), torch.tensor(1.0))
    alone = pack.noise.Streams(source, (8,))
    assert torch.equal(alone.draw(like[:1])[0], first[1])
    assert torch.equal(alone.draw(like[:1])[0], second[1])
    assert not torch.equal(first, second)


def test_cpu_noise_is_torch_s(pack):
    drawn = torch.randn((4, 3, 5), generator=torch.Generator().manual_seed(2**64 - 1))
    assert torch.equal(pack.noise.Streams("cpu", (2**64 - 1,)).draw(torch.zeros(1, 4, 3, 5))[0], drawn)


@pytest.mark.parametrize("source", ["cpu", "gpu"])
def test_brownian_noise_has_unit_variance_and_adds_up(pack, source):
    like = torch.zeros(1, 4, 32, 32)
    levels = [torch.tensor(value) for value in (10.0, 6.0, 2.0)]
    noise = pack.noise.brownian_noise(like, source, (5,), 0.03, 14.6)
    whole, first, second = noise(levels[0], levels[2]), noise(*levels[:2]), noise(*levels[1:])
    assert float(whole.std()) == pytest.approx(1, abs=0.05)
    summed = (first * math.sqrt(4) + second * math.sqrt(4)) / math.sqrt(8)
    assert torch.allclose(whole, summed, atol=1e-4)


@pytest.mark.parametrize("source", ["cpu", "gpu"])
def test_the_brownian_path_is_torchsde_s_with_the_source_s_normal_values(pack, source, monkeypatch):
    from torchsde._brownian import brownian_interval

    def draw(size, dtype, device, seed):
        return pack.noise.stream(source, int(seed)).draw(size)

    monkeypatch.setattr(brownian_interval, "_randn", draw)
    like = torch.zeros(2, 4, 6, 5)
    low, high = 0.0291675, 14.614642
    noise = pack.noise.brownian_noise(like, source, (5, 2**63 + 1), low, high)
    trees = [
        brownian_interval.BrownianInterval(
            low, high, (4, 6, 5), entropy=seed, tol=1e-6, pool_size=24, halfway_tree=True
        )
        for seed in (5, 2**63 + 1)
    ]  # as BrownianTree makes it
    levels = [high, 9.1, 3.91, 0.7001234, 0.31, low]
    for here, there in itertools.pairwise(levels):
        path = torch.stack([tree(there, here) for tree in trees]) / math.sqrt(here - there)
        drawn = noise(torch.tensor(here, dtype=torch.float64), torch.tensor(there, dtype=torch.float64))
        assert torch.allclose(drawn, -path, atol=2e-5)
        back = noise(torch.tensor(there, dtype=torch.float64), torch.tensor(here, dtype=torch.float64))
        assert torch.equal(back, -drawn)


def test_pictures_of_a_batch_have_paths_of_their_own_and_another_seed_another(pack):
    like = torch.zeros(2, 4, 3, 3)
    levels = torch.tensor(5.0), torch.tensor(1.0)
    both = pack.noise.brownian_noise(like, "cpu", (3, 4), 0.03, 14.6)(*levels)
    alone = pack.noise.brownian_noise(like[:1], "cpu", (4,), 0.03, 14.6)(*levels)
    assert torch.equal(both[1], alone[0])
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize(
    ("steps", "denoise", "walked"),
    [(25, 0.2, 6), (25, 0.3, 8), (25, 0.4, 11), (25, 0.5, 13), (25, 0.7, 18), (25, 0.75, 19), (25, 1, 25), (25, 0, 1)],
)
def test_a_strength_walks_a1111_s_number_of_steps(pack, steps, denoise, walked):
    assert steps - pack.noise_levels.first_step(steps, denoise) == walked


BOUNDS = (0.0292, 14.6146)


def linear(_, steps):
    return torch.cat([torch.linspace(10, 1, steps), torch.zeros(1)])


@pytest.mark.parametrize("sampler", ["dpm_2", "dpm_2_ancestral", "dpmpp_3m_sde"])
def test_the_last_level_before_zero_is_left_out_for_three_samplers(pack, sampler):
    walked, whole = pack.noise_levels.walked_levels(linear, BOUNDS, sampler, "karras", 9, 1.0, "sd15")
    assert whole.tolist() == pytest.approx([10, 9, 8, 7, 6, 5, 4, 3, 2, 0])
    assert torch.equal(walked, whole)


def test_the_walked_levels_are_the_end_of_the_whole_schedule(pack):
    walked, whole = pack.noise_levels.walked_levels(linear, BOUNDS, "euler", "karras", 10, 0.5, "sd15")
    assert torch.equal(walked, whole[4:])
    assert len(walked) == 7


def ddim_uniform(_, steps):
    stride = max(1000 // steps, 1)
    times = [*range(1, 1000, stride)]  # in the place of their levels
    return torch.tensor([*reversed(times), 0], dtype=torch.float32)


@pytest.mark.parametrize("steps", [7, 25, 30, 150])
@pytest.mark.parametrize("denoise", [0.0, 0.4, 0.7, 1.0])
def test_ddim_walks_down_from_the_time_step_that_webui_noises_to(pack, steps, denoise):
    walked, _ = pack.noise_levels.walked_levels(ddim_uniform, BOUNDS, "ddim", "ddim_uniform", steps, denoise, "sd15")
    times = np.clip(np.asarray(range(0, 1000, 1000 // steps)) + 1, 0, 999)
    encoded = int(min(denoise, 0.999) * steps)
    assert walked.tolist() == [*times[: encoded + 1][::-1], 0]


TABLE = torch.from_numpy(np.exp(np.linspace(np.log(BOUNDS[0]), np.log(BOUNDS[1]), 1000))).float()


def table_schedule(scheduler, steps):
    assert scheduler == "simple"
    return torch.cat([TABLE.flip(0)[:: 1000 // steps], torch.zeros(1)])


@pytest.mark.parametrize("steps", [1, 4, 8, 25])
def test_lcm_walks_the_fifty_levels_it_was_distilled_on(pack, steps):
    few = pack.lcm.distilled_of(table_schedule)
    fifty = TABLE.double().numpy()[19::20]
    assert few.bounds() == (pytest.approx(fifty[0]), pytest.approx(fifty[-1]))
    times = np.linspace(999, 19, steps)
    expected = np.exp(np.interp((times - 19) / 20, np.arange(50), np.log(fifty)))
    assert few.schedule("normal", steps).numpy() == pytest.approx([*expected, 0], rel=1e-5)
    assert few.schedule("simple", steps).numpy() == pytest.approx(
        [*(fifty[-(1 + int(turn * 50 / steps))] for turn in range(steps)), 0]
    )
    times = np.linspace(999, 19, steps + 1)[:-1]
    expected = np.exp(np.interp((times - 19) / 20, np.arange(50), np.log(fifty)))
    assert few.schedule("sgm_uniform", steps).numpy() == pytest.approx([*expected, 0], rel=1e-5)
    if steps > 1:
        low, high = fifty[0] ** (1 / 7), fifty[-1] ** (1 / 7)
        assert few.schedule("karras", steps).numpy() == pytest.approx(
            [*(high + np.linspace(0, 1, steps) * (low - high)) ** 7, 0], rel=1e-5
        )
        assert few.schedule("exponential", steps).numpy() == pytest.approx(
            [*np.exp(np.linspace(np.log(fifty[-1]), np.log(fifty[0]), steps)), 0], rel=1e-4
        )
    assert few.schedule("ddim_uniform", steps).numpy() == pytest.approx([*fifty[1 :: max(50 // steps, 1)][::-1], 0])


@pytest.mark.parametrize("level", [14.6146, 5.0, 0.2])
def test_lcm_tells_the_model_the_nearest_time_and_weighs_its_estimate(pack, level):
    def network(scaled, time):
        """Any function of the scaled latent and the time, as a model's noise is."""
        return torch.sin(3 * scaled) + time / 1000

    def ask(x, sigma):
        time = int((TABLE.log() - sigma.log()).abs().argmin())
        return x - sigma * network(x / (sigma**2 + 1).sqrt(), time)

    x = torch.linspace(-4, 4, 9)
    answer = pack.lcm.distilled_of(table_schedule).estimate(ask, x, torch.tensor(level))
    fifty = TABLE.double().numpy()[19::20]
    time = int(np.abs(np.log(fifty) - np.log(level)).argmin()) * 20 + 19
    denoised = x - level * network(x / math.sqrt(level**2 + 1), time)
    skip, out = 0.25 / ((10 * time) ** 2 + 0.25), 10 * time / math.sqrt((10 * time) ** 2 + 0.25)
    assert answer.numpy() == pytest.approx((out * denoised + skip * x).numpy(), abs=2e-4)


def test_lcm_jumps_to_the_estimate_and_back_up_with_noise(pack):
    sigmas = torch.tensor([3.0, 1.0, 0.0])
    seen = []

    def denoise(x, sigma):
        seen.append((float(x), float(sigma)))
        return x / 2

    answer = pack.lcm.lcm(denoise, torch.tensor(8.0), sigmas, lambda step: None, lambda here, there: torch.tensor(5.0))
    assert seen == [(8, 3), (4 + 5 * 1, 1)]
    assert float(answer) == 4.5


def test_kl_optimal_follows_its_formula_and_ends_above_zero(pack):
    levels = pack.noise_levels.noise_levels(linear, BOUNDS, "kl_optimal", 5, "sd15").numpy()
    low, high = np.arctan(BOUNDS)
    assert levels == pytest.approx([np.tan(low * i / 5 + high * (5 - i) / 5) for i in range(6)], rel=1e-5)


def test_beta_spreads_quantiles_over_the_levels(pack):
    levels = pack.noise_levels.noise_levels(linear, BOUNDS, "beta", 9, "sd15").double().numpy()
    low, high = BOUNDS
    x = (levels[:-1] - low) / (high - low)
    grid = (np.arange(2_000_000) + 0.5) / 2_000_000
    density = grid**-0.4 * (1 - grid) ** -0.4
    share = np.interp(x, grid, np.cumsum(density) / density.sum())
    assert share == pytest.approx(1 - np.linspace(0, 1, 9), abs=1e-3)
    assert levels[4] == pytest.approx((low + high) / 2, rel=1e-3)
    assert levels[-1] == 0


@pytest.mark.parametrize("steps", [1, 5, 11, 25])
def test_align_your_steps_interpolates_the_published_levels_in_their_logarithm(pack, steps):
    levels = pack.noise_levels.noise_levels(linear, BOUNDS, "align_your_steps", steps, "sdxl").numpy()
    published = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]
    upwards = np.exp(np.interp(np.linspace(0, 10, steps), np.arange(11), np.log(published[::-1])))
    assert levels == pytest.approx([*upwards[::-1], 0], rel=1e-5)


@pytest.mark.parametrize("name", ["dpm_fast", "dpm_adaptive"])
def test_dpm_fast_and_adaptive_end_at_the_last_level_but_one(pack, name):
    sigmas = pack.noise_levels.noise_levels(linear, BOUNDS, "kl_optimal", 7, "sd15")
    went, asked = [], []

    def denoise(x, sigma):
        asked.append(float(sigma))
        return x / 2

    def noise(here, there):
        went.append((float(here), float(there)))
        return torch.zeros(3)

    getattr(pack.dpm_solver, name)(denoise, torch.ones(3), sigmas, lambda step: None, noise)
    assert went[0][0] == pytest.approx(float(sigmas[0]))
    assert went[-1][1] == pytest.approx(float(sigmas[-2]), rel=1e-4)
    assert min(asked) >= float(sigmas[-2]) * 0.999


class ToySession:
    """Conditioning number n estimates n + 1 everywhere."""

    def __init__(self):
        self.latent = torch.full((1, 4, 2, 2), 100.0)
        self.asked = []

    def predict(self, x, sigma, which):
        self.asked.append(tuple(which))
        return [torch.full_like(x, number + 1.0) for number in which]

    def guided(self, x, sigma, negative, positive, scale):
        without, wanted = self.predict(x, sigma, [negative, positive])
        return without + (wanted - without) * scale


def entry(pack, part, weight, *calls):
    turn = pack.prompt.Turn(part, weight, {1: calls, 2: tuple((2 * a, 2 * b) for a, b in calls)})
    return [torch.zeros(1, 77, 8), {"a1111_turn": turn}]


@pytest.fixture
def guide(pack):
    def make(positive, scale=7.0, mask=None, order=1):
        known = []
        parts = pack.guidance.parts_of(positive, known)
        negative = pack.guidance.parts_of([[torch.zeros(1, 77, 8), {}]], known)
        return pack.guidance.Guide(parts, negative, scale, mask, order)

    return make


def call(guide, session):
    return guide(session, torch.zeros(1, 4, 2, 2), torch.tensor([1.0]))


def test_and_adds_the_weighted_ways_from_the_negative_prompt(pack, guide):
    clean = call(guide([entry(pack, 0, 0.5, (0, 9)), entry(pack, 1, -2.0, (0, 9))], scale=4.0), ToySession())
    assert float(clean[0, 0, 0, 0]) == pytest.approx(3 + 4 * 0.5 * (1 - 3) + 4 * -2.0 * (2 - 3))


def test_a_lone_weight_scales_guidance(pack, guide):
    clean = call(guide([entry(pack, 0, 0.5, (0, 9))], scale=4.0), ToySession())
    assert float(clean[0, 0, 0, 0]) == pytest.approx(2 + 4 * 0.5 * (1 - 2))


@pytest.mark.parametrize(("order", "seen"), [(1, [0, 0, 1, 1, 0]), (2, [0, 0, 0, 1, 1])])
def test_turns_are_counted_in_calls_and_start_again_with_the_first(pack, guide, order, seen):
    session = ToySession()
    made = guide([entry(pack, 0, 1.0, (0, 1)), entry(pack, 0, 1.0, (2, 3))], order=order)
    for _ in range(5):
        call(made, session)
    chosen = [positive for _, positive in session.asked]
    if order == 2:
        assert chosen[:3] == [0, 0, 0]
        assert chosen[4] == 1
    else:
        assert chosen == seen


def test_the_blend_comes_after_guidance(pack, guide):
    mask = torch.tensor([[1.0, 0.0], [0.25, 0.0]]).reshape(1, 1, 2, 2)
    clean = call(guide([entry(pack, 0, 1.0, (0, 9))], scale=1.0, mask=mask), ToySession())
    assert clean[0, 0].tolist() == [[1.0, 100.0], [0.25 * 1 + 0.75 * 100, 100.0]]


def test_entries_of_other_nodes_stay_together(pack):
    known = []
    (part,) = pack.guidance.parts_of([[torch.zeros(1, 77, 8), {}], [torch.ones(1, 77, 8), {}]], known)
    assert (len(known), len(known[0]), part.turns) == (1, 2, ((0, None),))


def test_lms_integrates_slopes_to_the_very_end(pack):
    sigmas = torch.tensor([4.0, 2.5, 1.5, 0.7, 0.0])
    answer = pack.solvers.lms(lambda x, s: x - s * s**2, torch.zeros(1), sigmas, lambda step: None, None)
    nodes = sigmas.double().numpy()
    x = 0.0
    for step in range(4):  # dx/ds = s²; the multistep rule integrates a polynomial through the last slopes
        known = nodes[max(0, step - 3) : step + 1]
        polynomial = np.polynomial.Polynomial.fit(known, known**2, len(known) - 1).integ()
        x += polynomial(nodes[step + 1]) - polynomial(nodes[step])
    assert float(answer) == pytest.approx(x, rel=1e-5)


def test_an_inpainting_model_sees_grey_under_the_rounded_mask_and_every_eighth_pixel_of_it(node):
    image = torch.rand((1, 16, 24, 3), generator=torch.Generator().manual_seed(1))
    mask = torch.linspace(0, 1, 24).expand(1, 16, 24)

    class Vae:
        def encode(self, pixels):
            self.seen = pixels
            return torch.ones(1, 4, 2, 3)

    vae = Vae()
    states = torch.zeros(1, 77, 8)
    positive, negative = node("A1111InpaintConditioning").attach(
        [[states, {"kept": 1}], [states, {}]], [[states, {}]], vae, image, mask
    )
    hidden = mask[0, 0] > 0.5
    assert torch.equal(vae.seen[:, :, ~hidden], image[:, :, ~hidden])
    assert torch.all(vae.seen[:, :, hidden] == 0.5)
    assert positive[0][1]["concat_mask"].tolist() == [[[[0, 0, 1], [0, 0, 1]]]]
    assert positive[0][1]["kept"] == 1
    assert len(positive) == 2
    assert negative[0][1]["concat_latent_image"].shape == (1, 4, 2, 3)


def test_feather_outside_shows_all_of_the_mask_and_fades_beyond_it(node):
    image, mask = torch.zeros(1, 64, 64, 3), torch.zeros(1, 64, 64)
    mask[:, 20:44, 20:44] = 1
    _, _, inside, blurred = node("A1111InpaintMasks").prepare(image, mask, 4, 0, "inside")
    _, _, outside, _ = node("A1111InpaintMasks").prepare(image, mask, 4, 0, "outside")
    levels = (blurred * 255).round().numpy()
    assert np.allclose(outside.numpy(), np.clip(2 * levels, 0, 255) / 255)
    assert float(inside[mask == 0].max()) == 0
    assert float(outside[:, 30, 30]) == 1
    assert float(outside[:, 30, 16]) > 0
    assert float(outside[:, 30, 5]) == 0
