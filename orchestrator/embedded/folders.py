"""Where files are: models, inputs, outputs and temporary files. Knows nothing of nodes, prompts or HTTP.

Every name that comes from outside passes through here, so that none can leave its folder.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MODEL_KINDS = ("checkpoints", "loras", "embeddings", "vae")
_KINDS = ("input", "temp", "output")


class OutsideFolder(ValueError):
    """The name leads out of the folder that it belongs to."""


def within(folder: Path, *parts: str) -> Path:
    """`parts` below `folder`; OutsideFolder for a name that leads elsewhere (by `..`, `/` or a link)."""
    root = folder.resolve()
    path = root.joinpath(*parts).resolve()
    if path != root and root not in path.parents:
        raise OutsideFolder(f"{'/'.join(parts)} is outside of its folder")
    return path


@dataclass(frozen=True)
class Folders:
    """`models` holds `checkpoints/` and `loras/`; `root` holds `input/`, `temp/` and `output/`, made when missing.

    `user` is for what the editor keeps; a folder in `root` if it is None. `workflows`, if any, holds a folder for each
    workflow that the editor offers to open.
    """

    models: Path
    root: Path
    user: Path | None = None
    workflows: Path | None = None

    def prepare(self) -> None:
        """Makes the folders, for their owner alone: they hold people's pictures and prompts."""
        # The editor lists the last two at its start, and takes a missing one for an error.
        drawings = (self.user_folder / "workflows", self.user_folder / "subgraphs")
        for folder in (self.root, *map(self.of, _KINDS), self.user_folder, *drawings):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def user_folder(self) -> Path:
        """Where the editor's files are."""
        return self.user or self.root / "user"

    def of(self, kind: str) -> Path:
        """The folder called `input`, `temp` or `output`; KeyError for another word."""
        if kind not in _KINDS:
            raise KeyError(kind)
        return self.root / kind

    def model_names(self, kind: str) -> tuple[str, ...]:
        """Files of a kind of model as nodes name them: relative to its folder, sorted."""
        folder = self.models / kind
        return tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*.safetensors") if file.is_file()))

    def model(self, kind: str, name: str) -> Path:
        """The file of a model; FileNotFoundError when there is none of that name."""
        path = within(self.models / kind, name)
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {name} in {kind}.")
        return path

    def annotated(self, name: str) -> Path:
        """The file that a node means by `name`, `folder/name` or `name [temp]`; it need not exist."""
        for kind in _KINDS:
            mark = f"[{kind}]"
            if name.endswith(mark):
                return within(self.of(kind), name[: -len(mark)].rstrip())
        return within(self.of("input"), name)

    def input_pictures(self) -> list[str]:
        """Names of the files at the top of the input folder that look like pictures."""
        endings = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
        files = self.of("input").iterdir()
        return sorted(file.name for file in files if file.is_file() and file.suffix.lower() in endings)

    def delete(self, files: Iterable[Mapping[str, str]]) -> int:
        """Deletes files by `type`, `subfolder` and `filename`; gives how many there were."""
        paths = [within(self.of(file["type"]), file["subfolder"], file["filename"]) for file in files]
        found = [path for path in paths if path.is_file()]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def sweep(self, seconds: float) -> int:
        """Deletes what has lain in the temporary folder for longer; gives the number of files deleted."""
        expired = list(self._older_than(time.time() - seconds))
        for file in expired:
            file.unlink(missing_ok=True)
        return len(expired)

    def _older_than(self, moment: float) -> Iterator[Path]:
        for file in self.of("temp").rglob("*"):
            try:
                if file.is_file() and file.stat().st_mtime < moment:
                    yield file
            except FileNotFoundError:  # another sweep, or the pack's own tidying, was quicker
                continue
