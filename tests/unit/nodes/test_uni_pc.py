"""UniPC against a restatement by integrals, and the levels that it walks."""

import numpy as np
import pytest
import torch

TABLE = np.exp(np.linspace(np.log(0.0292), np.log(14.6146), 1000)) * (1 + np.linspace(0, 0.3, 1000) ** 2)


def table_schedule(scheduler, steps):
    assert (scheduler, steps) == ("simple", 1000)
    return torch.cat([torch.from_numpy(TABLE).flip(0), torch.zeros(1)])


def at_time(places):
    """The levels of `TABLE` at fractional time steps: log alpha is linear in between."""
    log_alpha = np.interp(places, np.arange(1000), np.log(1 / np.sqrt(1 + TABLE**2)))
    return np.sqrt(np.exp(-2 * log_alpha) - 1)


@pytest.mark.parametrize("scheduler", ["normal", "karras"])
@pytest.mark.parametrize("steps", [1, 7, 25, 30])
@pytest.mark.parametrize("denoise", [0.0, 0.4, 0.7, 1.0])
def test_its_levels_lie_evenly_over_time_from_where_webui_noises_to(pack, scheduler, steps, denoise):
    walked, _ = pack.noise_levels.walked_levels(table_schedule, (0, 0), "uni_pc", scheduler, steps, denoise, "sd15")
    times = np.clip(np.asarray(range(0, 1000, 1000 // steps)) + 1, 0, 999)
    encoded = int(min(denoise, 0.999) * steps)
    assert walked.numpy() == pytest.approx(at_time(np.linspace(times[encoded], 0, encoded + 2)), rel=1e-4)


@pytest.mark.parametrize("steps", [7, 25, 30])
def test_its_whole_schedule_has_webui_s_number_of_steps(pack, steps):
    _, whole = pack.noise_levels.walked_levels(table_schedule, (0, 0), "uni_pc", "normal", steps, 1.0, "sd15")
    count = len(range(0, 1000, 1000 // steps))
    assert whole.numpy() == pytest.approx(at_time(np.linspace(999, 0, count + 1)), rel=1e-4)


def estimate(x, sigma):
    """Any smooth function, as a model's is."""
    return np.tanh(x) / (1 + 0.3 * sigma) + 0.1 * np.log(1 + sigma)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def integrated(h, values):
    """The integral over a step of exp(s - h) P(s), where P goes through `values` (place → estimate)."""
    places = np.array(list(values))
    s = (NODES + 1) * h / 2
    total = 0.0
    for place, value in values.items():
        others = places[places != place]
        basis = np.prod([(s - other) / (place - other) for other in others], axis=0) if len(others) else np.ones(20)
        total = total + value * (WEIGHTS * h / 2 * np.exp(s - h) * basis).sum()
    return total


def restated(x, sigmas):
    """The integral of a polynomial through the estimates; where the paper weighs one slope by half, that."""
    times = -np.log(sigmas)
    known = [estimate(x, sigmas[0])]
    steps = len(sigmas) - 1
    for step in range(1, steps + 1):
        order, h = min(3, step, steps + 1 - step), times[step] - times[step - 1]
        before = {times[step - 1 - back] - times[step - 1]: known[-1 - back] for back in range(order)}
        last = known[-1]
        flat = np.exp(-h) * x + (1 - np.exp(-h)) * last
        if order == 3:
            guess = np.exp(-h) * x + integrated(h, before)
        elif order == 2:
            earlier = next(place for place in before if place)
            guess = flat + h * 0.5 * (before[earlier] - last) * h / earlier
        else:
            guess = flat
        if step == steps:
            return guess
        known.append(estimate(guess, sigmas[step]))
        if order > 1:
            x = np.exp(-h) * x + integrated(h, {**before, h: known[-1]})
        else:
            x = flat + h * 0.5 * (known[-1] - last)
    return x


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 12])
def test_it_is_the_restatement(pack, steps):
    sigmas = np.exp(np.linspace(np.log(9), np.log(0.03), steps + 1) + 0.2 * np.sin(np.arange(steps + 1)))
    start = np.linspace(-20, 20, 9)
    calls, reported = [], []

    def denoise(x, sigma):
        calls.append(float(sigma))
        return torch.from_numpy(estimate(x.numpy(), float(sigma)))

    levels = torch.from_numpy(sigmas)
    answer = pack.uni_pc.uni_pc(denoise, torch.from_numpy(start), levels, reported.append, None)
    assert answer.numpy() == pytest.approx(restated(start, sigmas), abs=1e-8)
    assert calls == pytest.approx(sigmas[:-1])
    assert reported == list(range(steps))
