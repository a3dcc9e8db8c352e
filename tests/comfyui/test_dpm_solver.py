"""The pack's DPM fast and DPM adaptive against k-diffusion's, as ComfyUI ships it, with eta 1 and a toy denoiser."""

import json
import os
import subprocess

import pytest

from tests.comfyui.backends import REPOSITORY

pytestmark = pytest.mark.comfyui

PROGRAM = """
import importlib.util, json, sys
from pathlib import Path
folder = sys.argv.pop()
sys.argv.append("--cpu")
import comfy.options
comfy.options.enable_args_parsing()
import torch
import comfy.k_diffusion.sampling as theirs
sys.path.insert(0, folder)
spec = importlib.util.spec_from_file_location("pack", Path(folder) / "__init__.py")
pack = importlib.util.module_from_spec(spec)
sys.modules["pack"] = pack
spec.loader.exec_module(pack)
ours = pack.dpm_solver

def denoise(x, sigma, **_):
    return torch.tanh(x) / (1 + float(sigma.reshape(-1)[0]))

def noise():
    draw = torch.Generator().manual_seed(5)
    return lambda here, there: torch.randn((1, 4, 8, 8), generator=draw)

x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1)) * 10
told = {}
for steps in (4, 6, 9, 11):
    sigmas = torch.cat([torch.linspace(10, 0.1, steps), torch.zeros(1)])
    ends = sigmas[-2], sigmas[0]
    wanted = theirs.sample_dpm_fast(denoise, x, *ends, steps, disable=True, eta=1.0, noise_sampler=noise())
    got = ours.dpm_fast(denoise, x, sigmas, lambda step: None, noise())
    told[f"fast {steps}"] = float((wanted - got).abs().max())
wanted = theirs.sample_dpm_adaptive(denoise, x, *ends, disable=True, eta=1.0, noise_sampler=noise())
got = ours.dpm_adaptive(denoise, x, sigmas, lambda step: None, noise())
told["adaptive"] = float((wanted - got).abs().max())
print(json.dumps(told))
"""


def test_both_equal_k_diffusion_s() -> None:
    folder, python = os.environ.get("COMFYUI_DIR"), os.environ.get("COMFYUI_PYTHON")
    if not folder or not python:
        pytest.skip("no real ComfyUI: set COMFYUI_DIR to its checkout and COMFYUI_PYTHON to a Python that runs it")
    command = [python, "-c", PROGRAM, str(REPOSITORY / "comfyui_nodes" / "a1111_inpaint")]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout.splitlines()[-1])
    assert len(told) == 5
    assert max(told.values()) < 1e-3, told
