"""The embedded backend lends its models to the pack's own sampler, ordinary ones and those with nine channels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrator.embedded.checkpoint import Clip, Model, Shelf
from orchestrator.embedded.folders import Folders
from orchestrator.embedded.monitor import Monitor
from orchestrator.embedded.packs import load_packs
from orchestrator.embedded.sampler import Settings, sample
from orchestrator.embedded.unsupported import UnsupportedModel
from tests.comfyui.shapes import write_small

PACK = Path(__file__).parents[3] / "comfyui_nodes"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("root")
    folders = Folders(root, root)
    folders.prepare()
    return {kind.name: kind.make() for kind in load_packs(PACK, folders).classes}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("small")
    for channels in (4, 9):
        write_small(folder / f"{channels}.safetensors", channels)
    return {channels: folder / f"{channels}.safetensors" for channels in (4, 9)}


SET_TO = {"seed": 3, "steps": 4, "cfg": 3.0, "scheduler": "karras", "denoise": 0.6, "noise_source": "cpu"}


@torch.inference_mode()
def test_the_pack_s_sampler_equals_the_core_one_with_a_hard_mask(run: dict[str, Any], files: dict[int, Path]) -> None:
    shelf, monitor = Shelf(), Monitor()
    model, clip = Model(shelf, files[4], monitor), Clip(shelf, files[4])
    samples = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 1:5] = 1
    prompts = {
        kind: run["A1111Prompt"](clip=clip, text=text, kind=kind, steps=4).values[0]
        for kind, text in (("positive", "a red heart"), ("negative", "blue"))
    }
    latent = {"samples": samples, "noise_mask": mask}
    ours = run["A1111Sampler"](model=model, sampler_name="dpmpp_2m", latent_image=latent, **prompts, **SET_TO)
    settings = Settings(seed=3, steps=4, cfg=3.0, sampler="dpmpp_2m", scheduler="karras", first=1)
    texts = clip.encode("a red heart"), clip.encode("blue")
    theirs = sample(model, *texts, samples, mask, settings, monitor)
    painted = ours.values[0]["samples"]
    assert float((painted - theirs).abs().max() / theirs.abs().max()) < 1e-5
    assert torch.equal(painted[mask.expand_as(painted) == 0], samples[mask.expand_as(samples) == 0])


@torch.inference_mode()
def test_a_solver_of_the_pack_walks_its_steps_on_this_backend(run: dict[str, Any], files: dict[int, Path]) -> None:
    shelf, monitor = Shelf(), Monitor()
    steps: list[tuple[int, int]] = []
    monitor.listen(lambda done, total: steps.append((done, total)))
    model, clip = Model(shelf, files[4], monitor), Clip(shelf, files[4])
    samples = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 1:5] = 1
    (prompt,) = run["A1111Prompt"](clip=clip, text="a red heart", kind="positive", steps=4).values
    given = {"positive": prompt, "negative": prompt, "latent_image": {"samples": samples, "noise_mask": mask}}
    answer = run["A1111Sampler"](model=model, sampler_name="uni_pc", **given, **SET_TO).values[0]["samples"]
    changed = (answer != samples)[0].all(dim=0)
    assert torch.equal(changed, mask[0, 0] == 1)
    assert bool(answer.isfinite().all())
    assert steps == [(1, 3), (2, 3), (3, 3)]


@torch.inference_mode()
def test_nine_channels_see_the_mask_and_the_surroundings(run: dict[str, Any], files: dict[int, Path]) -> None:
    shelf = Shelf()
    model, clip = Model(shelf, files[9], Monitor()), Clip(shelf, files[9])
    samples = torch.zeros(1, 4, 8, 8)
    (plain,) = run["A1111Prompt"](clip=clip, text="a", kind="positive", steps=4).values
    answers = []
    seen = [
        {"concat_latent_image": torch.full((1, 4, 8, 8), float(v)), "concat_mask": torch.ones(1, 1, 8, 8)}
        for v in (0, 3)
    ]
    for extras in ({}, *seen):
        prompt = [[states, carried | extras] for states, carried in plain]
        given = {"positive": prompt, "negative": prompt, "latent_image": {"samples": samples}}
        answers.append(run["A1111Sampler"](model=model, sampler_name="euler", **given, **SET_TO).values[0]["samples"])
    assert all(bool(answer.isfinite().all()) for answer in answers)
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])


def test_core_samplers_refuse_nine_channels_in_a_sentence(files: dict[int, Path]) -> None:
    model, text = Model(Shelf(), files[9], Monitor()), torch.zeros(1, 77, 768)
    settings = Settings(seed=0, steps=1, cfg=1.0, sampler="euler", scheduler="normal")
    with pytest.raises(UnsupportedModel, match="A1111 Sampler only"):
        sample(model, text, text, torch.zeros(1, 4, 8, 8), None, settings, Monitor())


@torch.inference_mode()
@pytest.mark.parametrize("level", [14.6146, 3.9])
def test_a_run_starts_from_the_latent_and_noise_of_its_level_also_at_the_highest(
    files: dict[int, Path], level: float
) -> None:
    model = Model(Shelf(), files[4], Monitor())
    draw = torch.Generator().manual_seed(2)
    latent, noise = (torch.randn(1, 4, 8, 8, generator=draw) for _ in range(2))
    seen: list[torch.Tensor] = []

    def solver(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, report: Any, step_noise: Any) -> torch.Tensor:
        seen.append(x.clone())
        return x

    order = SimpleNamespace(
        solver=solver,
        sigmas=torch.tensor([level, 0.0]),
        latent=latent,
        noise=noise,
        conditionings=[[[torch.zeros(1, 77, 768), {}]]],
        guide=None,
        step_noise=None,
    )
    model.sampling_host().run(order)
    assert torch.allclose(seen[0], latent * 0.18215 + noise * level, atol=1e-5)
