"""Which of a version's files to load, or why none of them can be. Pure.

Safetensors only: any other format is, or may hide, a pickle, which runs code when it is loaded. Of the safe files the
primary one, else a pruned one, else one of 16 bit. The family that an author chose is used to refuse early what can
never work; the file's own header decides the rest.
"""

from orchestrator.errors import ModelError, ModelGated, ModelGone, ModelMismatch, ModelNotFound, ModelUnsafe
from orchestrator.models.civitai import Version, VersionFile
from orchestrator.models.family import SD15, SDXL
from orchestrator.models.reference import Kind

_WEIGHTS = ("model", "pruned model")
_REFUSED_VERDICTS = ("danger", "error")
_FAMILY_OF_BASE = {
    SD15: ("sd 1.4", "sd 1.5", "sd 1.5 lcm", "sd 1.5 hyper"),
    SDXL: (
        *("sdxl 0.9", "sdxl 1.0", "sdxl 1.0 lcm", "sdxl lightning", "sdxl hyper", "sdxl turbo"),
        *("pony", "illustrious", "noobai", "playground v2"),
    ),
}
_OTHER_FAMILIES = (
    *("sd 2", "sd 3", "flux", "pony v7", "auraflow", "kolors", "hunyuan", "wan", "pixart", "lumina", "hidream"),
    *("stable cascade", "svd", "cogvideo", "ltx", "mochi", "qwen", "chroma", "z-image", "zimage", "sora", "veo"),
)
_OPEN = ("", "other", "sdxl distilled")
"""What an author chooses whose model is of no family on the list, or may be of ours."""
_WORD: dict[Kind, str] = {"checkpoint": "a checkpoint", "lora": "a LoRA"}


def base_family(base_model: str) -> str | None:
    """The family that Civitai's `baseModel` stands for; None if it does not tell (the header has to)."""
    said = base_model.strip().lower()
    return next((family for family, names in _FAMILY_OF_BASE.items() if said in names), None)


def names_other_family(base_model: str) -> bool:
    """Whether it names something, and nothing that may be of a family that runs here."""
    said = base_model.strip().lower()
    return said not in _OPEN and base_family(said) is None


def require_usable(version: Version, kind: Kind) -> None:
    """Raises the ModelError that says why this version can't be used as a model of that kind, if its facts tell."""
    what = f"Civitai's version {version.id} ({version.title})"
    if version.kind != kind and version.type:
        hint = f"; load it by <lora:{version.id}:1> in the prompt" if version.kind == "lora" else ""
        hint = f"; give it as the model of a request, {version.id}" if version.kind == "checkpoint" else hint
        raise ModelMismatch(f"{what} is of the type {version.type}, not {_WORD[kind]}{hint}")
    said = version.base_model.strip().lower()
    if base_family(said) is None and said.startswith(_OTHER_FAMILIES):
        raise ModelMismatch(f"{what} is made for {version.base_model}; this service runs {SD15} and {SDXL}")
    if version.removed:
        raise ModelGone(f"{what} is {version.removed} at Civitai; choose another version")
    if not version.downloadable:
        raise ModelGated(f"{what} may only be used at Civitai itself: its creator has turned downloads off")


def choose_file(version: Version, file_id: int | None = None) -> VersionFile:
    """The file to load; the one of that id if it was named. Raises ModelNotFound, ModelGone or ModelUnsafe."""
    what = f"Civitai's version {version.id} ({version.title})"
    weights = [file for file in version.files if file.type in _WEIGHTS]
    if file_id is not None:
        weights = [file for file in version.files if file.id == file_id]
        if not weights:
            listed = ", ".join(f"{file.id} ({file.name})" for file in version.files) or "none"
            raise ModelNotFound(f"{what} has no file {file_id}; its files: {listed}")
    if not weights:
        raise ModelGone(f"{what} has no model file that can be downloaded; choose another version")
    safe = [file for file in weights if file.format == "safetensor"]
    if not safe:
        formats = ", ".join(sorted({file.format or "an unknown format" for file in weights}))
        raise ModelUnsafe(
            f"{what} comes as {formats} only, and only safetensors files are loaded: others can run code. "
            f"Choose a version with a safetensors file, or convert it and put it on the shelf"
        )
    clean = [file for file in safe if verdict(file) is None]
    if not clean:
        raise _unsafe(what, safe[0])
    return max(clean, key=lambda file: (file.primary, file.size == "pruned", file.precision == "fp16", -file.id))


def verdict(file: VersionFile) -> str | None:
    """What a scan holds against the file, or None.

    A scan that Civitai does not speak of holds nothing: mirrors and old files have none, and safetensors runs no code.
    One that is pending is waited for, since Civitai itself is about to say more.
    """
    for scanner, result, message in file.scans:
        if result in _REFUSED_VERDICTS:
            return f"Civitai's {scanner} scan says {result}" + (f": {message}" if message else "")
        if result == "pending":
            return f"Civitai's {scanner} scan is not done yet; try again later"
    return None


def _unsafe(what: str, file: VersionFile) -> ModelError:
    return ModelUnsafe(f"{what} is not downloaded: {verdict(file)} (file {file.id}, {file.name})")
