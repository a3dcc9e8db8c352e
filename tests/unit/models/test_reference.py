import pytest

from orchestrator.models.reference import BadReference, CivitaiVersion, Kind, LocalName, Reference, read_reference


@pytest.mark.parametrize(
    ("name", "kind", "means"),
    [
        ("64094", "checkpoint", CivitaiVersion(64094)),
        (" 87153 ", "lora", CivitaiVersion(87153)),
        ("urn:air:sd1:checkpoint:civitai:10028@64094", "checkpoint", CivitaiVersion(64094, None, 10028)),
        ("urn:air:sd15:checkpoint:civitai:10028@64094", "checkpoint", CivitaiVersion(64094, None, 10028)),
        ("air:sdxl:lora:civitai:1@2", "lora", CivitaiVersion(2, None, 1)),
        ("civitai:10028@64094", "checkpoint", CivitaiVersion(64094, None, 10028)),
        ("sdxl:lora:civitai:1@2", "lora", CivitaiVersion(2, None, 1)),
        ("URN:AIR:SDXL:LYCORIS:CIVITAI:1@2", "lora", CivitaiVersion(2, None, 1)),
        ("urn:air:sd1:checkpoint:civitai:1@2+3.safetensors", "checkpoint", CivitaiVersion(2, 3, 1)),
        ("urn:air:sd1:checkpoint:civitai:1@2.safetensor", "checkpoint", CivitaiVersion(2, None, 1)),
        ("demo", "checkpoint", LocalName("demo")),
        ("0", "checkpoint", LocalName("0")),
        ("64094.safetensors", "checkpoint", LocalName("64094.safetensors")),
        ("99999999999", "checkpoint", LocalName("99999999999")),
        ("٣", "checkpoint", LocalName("٣")),
        ("airbrush", "lora", LocalName("airbrush")),
    ],
)
def test_a_name_means_a_version_or_a_file(name: str, kind: Kind, means: Reference) -> None:
    assert read_reference(name, kind) == means


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("urn:air:sd1:checkpoint:civitai:10028", "checkpoint", "no version"),
        ("urn:air:sd1:lora:civitai:1@2", "checkpoint", "a lora"),
        ("urn:air:sd1:embedding:civitai:1@2", "lora", "embedding"),
        ("urn:air:sd1:checkpoint:huggingface:a/b@main", "checkpoint", "AIR of Civitai"),
        ("urn:air:sd1:checkpoint:civitai:x@y", "checkpoint", "like urn:air"),
        ("urn:air:sd1:checkpoint:civitai:1@2.ckpt", "checkpoint", "safetensors"),
        ("urn:air:sd1:checkpoint:civitai:1@99999999999", "checkpoint", "no version"),
        (f"urn:air:sd1:checkpoint:civitai:1@{'9' * 5000}", "checkpoint", "like urn:air"),
        (f"urn:air:sd1:checkpoint:civitai:{'9' * 5000}@1", "checkpoint", "like urn:air"),
    ],
)
def test_an_air_that_cannot_be_used_says_what_to_write(name: str, kind: Kind, says: str) -> None:
    with pytest.raises(BadReference, match=says):
        read_reference(name, kind)
