"""Small graphs for these tests, and a quick client."""

from orchestrator.comfy.client import BackendClient, Limits
from orchestrator.comfy.execution import Progress
from orchestrator.comfy.following import OnProgress
from orchestrator.comfy.graph import Graph
from orchestrator.comfy.supervision import Backoff

QUICK = Limits(connect=1.0, request=2.0, transfer=2.0, poll=0.2, grace=0.4, abandon=1.0)
AT_ONCE = Backoff(first=0.01, limit=0.05, calm=0.0)


def client_of(url: str, **limits: float) -> BackendClient:
    """A client whose deadlines suit a test."""
    return BackendClient(url, name="fake", limits=Limits(**{**vars(QUICK), **limits}), backoff=AT_ONCE)


def picture_graph(picture: str = "im.png") -> Graph:
    """LoadImage → VAEEncode → KSampler → VAEDecode → SaveImage; the last one has the id "9" and the title Result."""
    return Graph.from_api(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": picture}, "_meta": {"title": "Picture"}},
            "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny.safetensors"}},
            "3": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["2", 2]}},
            "4": {
                "class_type": "KSampler",
                "inputs": {"model": ["2", 0], "latent_image": ["3", 0], "steps": 4, "denoise": 0.5},
                "_meta": {"title": "Sampler"},
            },
            "8": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["2", 2]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}, "_meta": {"title": "Result"}},
        }
    )


def into(told: list[Progress]) -> OnProgress:
    """Keeps every progress that a run tells."""

    async def keep(progress: Progress) -> None:
        told.append(progress)

    return keep
