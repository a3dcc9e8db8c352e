import gzip
import json

from orchestrator.comfy.known import core_object_info, known_catalog, snapshot


def test_the_known_catalogue_has_every_core_class():
    core = frozenset(core_object_info())
    assert len(core) == 365
    assert not known_catalog().missing(core)


def test_the_samplers_inputs_are_known_with_their_ranges():
    sampler = known_catalog().classes["KSamplerAdvanced"]
    assert sampler.inputs["steps"].minimum == 1
    assert sampler.inputs["model"].kind == "MODEL"
    assert "dpmpp_2m" in sampler.inputs["sampler_name"].choices
    assert sampler.outputs == ("LATENT",)
    assert list(sampler.inputs)[:3] == ["model", "add_noise", "noise_seed"]


def test_output_nodes_are_marked():
    known = known_catalog().classes
    assert known["SaveImage"].output_node
    assert not known["VAEDecode"].output_node


def test_the_shipped_snapshot_holds_no_prose():
    text = json.dumps(core_object_info())
    assert '"tooltip"' not in text
    assert '"description"' not in text


def test_a_snapshot_keeps_what_nodes_are_and_drops_what_they_say():
    answer = {
        "A": {
            "input": {"required": {"x": ["INT", {"default": 1, "tooltip": "T"}]}},
            "output": ["IMAGE"],
            "output_tooltips": ["T"],
            "description": "D",
            "output_node": True,
        }
    }
    kept = json.loads(gzip.decompress(snapshot(answer)))
    assert kept == {
        "A": {"input": {"required": {"x": ["INT", {"default": 1}]}}, "output": ["IMAGE"], "output_node": True}
    }
