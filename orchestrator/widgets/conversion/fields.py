"""The fields that the editor draws on a node of a class, in its order: what they hold, save and send. Pure.

ComfyUI's node catalogue says what a class takes; the editor makes of it sockets and fields, and adds fields of its own
(a seed's "control after generate", the upload button, players). A saved list of values follows the fields, so these
rules, those of comfyui-frontend-package 1.27.10, decide which value belongs to which input.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.comfy.catalog import InputSpec, NodeClass
from orchestrator.widgets.conversion import javascript
from orchestrator.widgets.conversion.saved import Values

ABSENT = object()
"""The value of a field that holds nothing: no input is sent for it."""


@dataclass(frozen=True)
class Field:
    """One field. `saved`: it has a place in the saved values; `sent`: its value becomes an input of the graph.

    form: "plain" holds a value as it is, "text" makes it text, "upload" a file's reference, "shown" never changes.
    """

    name: str
    default: object
    form: Literal["plain", "text", "upload", "shown"] = "plain"
    saved: bool = True
    sent: bool = True
    spec: InputSpec | None = None

    @property
    def has_alternatives(self) -> bool:
        """True for a prompt in which the editor chooses one of `{a|b}` and drops comments."""
        return self.spec is not None and self.spec.options.get("dynamicPrompts") is True

    def take(self, value: object) -> object:
        """What the field holds after `value` was put into it."""
        match self.form:
            case "text":
                return "" if value is None else javascript.text(value).replace("\r\n", "\n").replace("\r", "\n")
            case "upload":
                return _file_reference(value, self.default, self.spec)
            case "shown":
                return self.default
        return value

    def settle(self, value: object) -> object:
        """What it holds after the editor told it of a change: numbers are rounded to the field's step."""
        if self.spec is None or self.spec.kind not in ("INT", "FLOAT"):
            return value
        number = javascript.number(value)
        if number is None:
            return None
        rounded = javascript.rounded_integer if self.spec.kind == "INT" else javascript.rounded_float
        return rounded(number, self.spec.options)


@dataclass(frozen=True)
class Socket:
    """An input of a class as the editor draws it; `field` names the field it belongs to."""

    name: str
    kind: str
    field: str | None


@dataclass(frozen=True)
class Layout:
    """A node class as the editor draws it: sockets and fields, each in the editor's order."""

    sockets: tuple[Socket, ...]
    fields: tuple[Field, ...]
    forced: frozenset[int] = frozenset()
    """Places in a saved list of values that belonged to fields which are sockets only since editor 1.16."""
    length: int = -1
    """How long such a list was."""

    def values(self, saved: Values) -> dict[str, object]:
        """The values of the fields of a node that was saved with `saved`, defaults filled in."""
        values = {field.name: field.default for field in self.fields}
        if isinstance(saved, Mapping):
            return values | {field.name: field.take(saved[field.name]) for field in self.fields if field.name in saved}
        if len(saved) == self.length:
            saved = tuple(value for place, value in enumerate(saved) if place not in self.forced)
        places = (field for field in self.fields if field.saved)
        return values | {field.name: field.take(value) for field, value in zip(places, saved, strict=False)}


def layout(known: NodeClass) -> Layout:
    """How the editor draws a class."""
    specs = {**known.inputs, **dict(_added_inputs(known))}
    drawn = {name: tuple(_fields(name, spec)) for name, spec in specs.items() if not _socket_only(spec)}
    sockets = [Socket(name, spec.kind, None) for name, spec in specs.items() if name not in drawn]
    sockets += [Socket(name, specs[name].kind, name) for name in drawn]
    fields = [field for name in drawn for field in drawn[name]]
    if known.name == "PreviewAny":
        fields.append(Field("preview", "", "text", saved=False))
    if known.name == "WebcamCapture":
        fields.append(Field("waiting for camera...", "capture", sent=False))
    once = [spec for name, spec in specs.items() if name in drawn or _forced(spec)]
    names = [name for name, spec in specs.items() if name in drawn or _forced(spec)]
    return Layout(
        tuple(sockets),
        tuple(fields),
        frozenset(place for place, spec in enumerate(once) if _forced(spec)),
        sum(2 if _controlled(name, spec) else 1 for name, spec in zip(names, once, strict=True)),
    )


_PLAYERS = frozenset({"LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus"})
_PREVIEWS = {"SaveGLB": "PREVIEW_3D", "Preview3D": "PREVIEW_3D", "Preview3DAnimation": "PREVIEW_3D_ANIMATION"}


def _added_inputs(known: NodeClass) -> Iterator[tuple[str, InputSpec]]:
    """The inputs that the editor's own extensions add to a class."""
    required = {name: spec for name, spec in known.inputs.items() if spec.required}
    if known.name in _PLAYERS:
        yield "audioUI", InputSpec("AUDIO_UI", True)
    if known.name in _PREVIEWS:
        yield "image", InputSpec(_PREVIEWS[known.name], True)
    if any(_is_upload(spec) for spec in required.values()):
        yield "upload", InputSpec("IMAGEUPLOAD", True)
    if "audio" in required and required["audio"].options.get("audio_upload") is True:
        yield "upload", InputSpec("AUDIOUPLOAD", True)


def _is_upload(spec: InputSpec) -> bool:
    uploads = ("image_upload", "video_upload", "animated_image_upload")
    return spec.kind == "COMBO" and any(spec.options.get(name) is True for name in uploads)


def _forced(spec: InputSpec) -> bool:
    """True if the declaration wants a socket without a field."""
    return bool(spec.options.get("forceInput")) or (not spec.required and bool(spec.options.get("defaultInput")))


def _socket_only(spec: InputSpec) -> bool:
    return _forced(spec) or _field_kind(spec) not in _FIELD_KINDS


def _field_kind(spec: InputSpec) -> str:
    named = spec.options.get("widgetType")
    return named if isinstance(named, str) else spec.kind


def _controlled(name: str, spec: InputSpec) -> bool:
    return bool(spec.options.get("control_after_generate")) or name in ("seed", "noise_seed")


_DEFAULTS: Mapping[str, object] = {
    "INT": 0,
    "FLOAT": 0,
    "BOOLEAN": False,
    "STRING": "",
    "MARKDOWN": "",
    "COLOR": "#000000",
    "TEXTAREA": "",
    "FILEUPLOAD": "",
    "SELECTBUTTON": "",
    "TREESELECT": (),
    "MULTISELECT": (),
    "GALLERIA": (),
    "CHART": {},
    "IMAGECOMPARE": "",
}
_PARTS = frozenset({"AUDIO_UI", "AUDIOUPLOAD", "AUDIO_RECORD", "IMAGEUPLOAD", "WEBCAM"})
_SCENES = frozenset({"LOAD_3D", "LOAD_3D_ANIMATION", "PREVIEW_3D", "PREVIEW_3D_ANIMATION"})
_FIELD_KINDS = frozenset(_DEFAULTS) | _PARTS | _SCENES | {"COMBO"}


def _fields(name: str, spec: InputSpec) -> Iterator[Field]:
    """The fields that one input of a class becomes."""
    match _field_kind(spec):
        case "COMBO":
            yield from _choice(name, spec)
        case "INT" | "FLOAT" | "BOOLEAN" | "STRING" as kind:
            default = spec.default if spec.default is not None else _DEFAULTS[kind]
            form: Literal["plain", "text"] = "text" if kind == "STRING" and spec.options.get("multiline") else "plain"
            yield Field(name, default, form, spec=spec)
            declared = spec.options.get("control_after_generate")
            if kind == "INT" and (declared if declared is not None else name in ("seed", "noise_seed")):
                yield _control(spec)
        case "AUDIO_UI":
            yield Field(name, "", "shown", saved=False)
        case "WEBCAM":
            yield Field(name, "", "shown")
        case "AUDIO_RECORD":
            yield Field(name, "", "shown")
            yield Field(f"{name} (button)", "", sent=False)
        case "AUDIOUPLOAD" | "IMAGEUPLOAD":
            yield Field(name, "image", sent=False)
        case "LOAD_3D" | "LOAD_3D_ANIMATION":
            yield Field("upload 3d model", "upload3dmodel")
            yield Field("upload extra resources", "uploadExtraResources")
            yield Field("clear", "clear")
            yield Field("image", "", "shown")
        case "PREVIEW_3D" | "PREVIEW_3D_ANIMATION":
            yield Field("image", "", "shown")
        case kind:
            options = spec.options.get("options")
            default = options.get("default") if isinstance(options, Mapping) else None
            yield Field(name, default or _DEFAULTS[kind])


def _choice(name: str, spec: InputSpec) -> Iterator[Field]:
    if spec.options.get("multi_select"):
        yield Field(name, ())
        return
    remote = spec.options.get("remote")
    first = spec.choices[0] if spec.choices else "Loading..." if remote else ABSENT
    yield Field(name, spec.default or first, "upload" if _is_upload(spec) and spec.required else "plain", spec=spec)
    if isinstance(remote, Mapping):
        yield Field("Auto-refresh after generation", False, sent=False)
        if remote.get("refresh_button"):
            yield Field("refresh", "refresh")
    if spec.options.get("control_after_generate"):
        yield _control(spec)
        yield Field("control_filter_list", "", sent=False)


def _control(spec: InputSpec) -> Field:
    declared = spec.options.get("control_after_generate")
    return Field(declared if isinstance(declared, str) else "control_after_generate", "randomize", sent=False)


def _file_reference(value: object, default: object, spec: InputSpec | None) -> object:
    """How a picture field names a file: with its folder, unless that is the folder of inputs."""
    options = spec.options if spec is not None else {}
    if not value:
        return default
    if isinstance(value, list | tuple):
        references = [_file_reference(item, default, spec) for item in value]
        return references if options.get("allow_batch") else references[0]
    folder = options.get("image_folder", "input")
    if isinstance(value, Mapping):
        path = "/".join(str(part) for part in (value.get("subfolder"), value.get("filename")) if part)
        return path + _folder_mark(str(value.get("type") or ""), folder) if value.get("type") else path
    return f"{value}{_folder_mark(value, folder)}" if isinstance(value, str) else value


def _folder_mark(path: str, folder: object) -> str:
    marked = any(mark in path.lower() for mark in ("[input]", "[output]", "[temp]"))
    return "" if marked or folder == "input" else f" [{folder}]"
