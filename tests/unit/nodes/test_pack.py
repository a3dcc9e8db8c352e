"""What ComfyUI reads of the pack's classes, and that the shipped catalogue says the same."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CATALOGUE = json.loads((ROOT / "orchestrator" / "comfy" / "data" / "pack.json").read_text())


def described(name: str, node: type, title: str) -> dict[str, object]:
    """The class as /object_info lists it, tooltips left out."""
    inputs = {
        kind: {
            key: [spec[0]] + [{k: v for k, v in options.items() if k != "tooltip"} for options in spec[1:]]
            for key, spec in group.items()
        }
        for kind, group in node.INPUT_TYPES().items()
    }
    inputs = {
        kind: {key: [part for part in spec if part != {}] for key, spec in g.items()} for kind, g in inputs.items()
    }
    return {
        "name": name,
        "display_name": title,
        "category": node.CATEGORY,
        "output_node": getattr(node, "OUTPUT_NODE", False),
        "output": list(node.RETURN_TYPES),
        "output_name": list(getattr(node, "RETURN_NAMES", node.RETURN_TYPES)),
        "output_is_list": [False] * len(node.RETURN_TYPES),
        "input": inputs,
        "input_order": {kind: list(group) for kind, group in inputs.items()},
    }


def test_shipped_catalogue_lists_the_classes_of_the_pack(pack):
    expected = {
        name: described(name, node, pack.NODE_DISPLAY_NAME_MAPPINGS[name])
        for name, node in pack.NODE_CLASS_MAPPINGS.items()
    }
    listed = {
        name: {key: value for key, value in entry.items() if key in expected[name]} for name, entry in CATALOGUE.items()
    }
    assert listed == json.loads(json.dumps(expected))


def test_shipped_catalogue_holds_no_prose():
    text = json.dumps(CATALOGUE)
    assert "tooltip" not in text
    assert all(not entry["description"] for entry in CATALOGUE.values())


def test_every_class_and_input_explains_itself(pack):
    for name, node in pack.NODE_CLASS_MAPPINGS.items():
        assert len(node.DESCRIPTION) > 40, name
        assert len(getattr(node, "OUTPUT_TOOLTIPS", ())) == len(node.RETURN_TYPES), name
        assert callable(getattr(node, node.FUNCTION)), name
        for key, spec in node.INPUT_TYPES()["required"].items():
            assert spec[1]["tooltip"], (name, key)


@pytest.mark.parametrize("forbidden", ["orchestrator.", "import orchestrator", "comfy.", "from nodes"])
def test_pack_imports_neither_the_service_nor_the_insides_of_comfyui(forbidden):
    for file in (ROOT / "comfyui_nodes").rglob("*.py"):
        imports = [line for line in file.read_text().splitlines() if line.startswith(("import ", "from "))]
        assert not [line for line in imports if forbidden in line], file
        if file.name != "temporary_image.py":
            assert not [line for line in imports if "folder_paths" in line], file
