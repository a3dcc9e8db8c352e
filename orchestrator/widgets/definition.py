"""What a widget.yaml says: parameters, and the bindings by node title that carry their values into the graph.

Frozen and strict: an unknown key or a number in quotes is the artist's mistake and is named. Whether the definition and
the workflow fit together is the audit's question; this module has never heard of nodes' classes. Pure.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.errors import WorkflowError

Drawn = bool | int | float | str
"""A value as it stands in a node's input."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
FAMILY = "family"
"""A word in a bypass condition that is not a parameter: the family of the chosen checkpoint."""
CHANNELS = "channels"
"""Another: how many channels its UNet reads, 4 or (an inpainting checkpoint) 9."""
MODEL_WORDS = (FAMILY, CHANNELS)
LONGEST_TEXT = 20_000
"""Characters. Should each be a token of its own, it still is no more than A1111 Prompt reads."""
LARGEST_SEED = 2**64 - 1
"""ComfyUI's seeds are 64 bit, unsigned."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Parameter(_Strict):
    help: str = Field(min_length=1)
    required: bool = False
    """For the documentation and for parameters without a default: one that has a default may always be left out."""
    advanced: bool = False
    """Few callers change it: the page folds it away."""


class PictureParameter(_Parameter):
    """A picture: URL, data URL, base64 or the bytes themselves; read by the images part, not here."""

    type: Literal["picture"]


class MaskParameter(_Parameter):
    """A picture that says where. `of` names the picture it belongs to, whose size it gets.

    `blur` (pixels) and `invert` (0 or 1) name the parameters that change the mask inside the workflow, `only` (0 or 1)
    and `padding` (pixels) those that repaint just a box around it, so that the service can see before the run that
    nothing of it would survive.
    """

    type: Literal["mask"]
    of: Name
    blur: Name | None = None
    invert: Name | None = None
    only: Name | None = None
    padding: Name | None = None


class CheckpointParameter(_Parameter):
    """A checkpoint by name or Civitai version id."""

    type: Literal["checkpoint"]
    default: str | int | None = None


class PromptParameter(_Parameter):
    """Text in which LoRA tags mean something: they leave the text, and load LoRAs if `loras` names this parameter."""

    type: Literal["prompt"]
    default: str | None = None
    longest: int = LONGEST_TEXT


class TextParameter(_Parameter):
    """Text that is passed on as it is."""

    type: Literal["text"]
    default: str | None = None
    longest: int = LONGEST_TEXT


class IntegerParameter(_Parameter):
    """A whole number in a closed range. Truth values are taken where the range is 0 to 1."""

    type: Literal["integer"]
    minimum: int
    maximum: int
    default: int | None = None
    labels: dict[int, str] | None = None
    """What each number of a short range means, in a few words."""

    @model_validator(mode="after")
    def _labels_are_of_the_range(self) -> Self:
        if self.labels is not None and list(self.labels) != list(range(self.minimum, self.maximum + 1)):
            raise ValueError(f"labels must name each number from {self.minimum} to {self.maximum}, in order")
        return self


class NumberParameter(_Parameter):
    """A finite number in a closed range."""

    type: Literal["number"]
    minimum: float
    maximum: float
    default: float | None = None


class SamplerParameter(_Parameter):
    """One of A1111's sampler names."""

    type: Literal["sampler"]
    default: str | None = None


class ChoiceParameter(_Parameter):
    """One of a few words."""

    type: Literal["choice"]
    options: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    default: str | None = None


class SeedParameter(_Parameter):
    """-1 (draw one) or 0 to 2**64-1."""

    type: Literal["seed"]
    default: int = -1


Parameter = Annotated[
    PictureParameter
    | MaskParameter
    | CheckpointParameter
    | PromptParameter
    | TextParameter
    | IntegerParameter
    | NumberParameter
    | SamplerParameter
    | ChoiceParameter
    | SeedParameter,
    Field(discriminator="type"),
]

Form = Literal["value", "sampler_name", "scheduler", "start_at_step", "negative"]


class Binding(_Strict):
    """`parameter` sets `input` of the node titled `node`, in the form that `as` names.

    value: as it is, or looked up in `choices` (a value not listed leaves what the artist drew).
    sampler_name, scheduler: ComfyUI's half of an A1111 sampler name.
    negative: -n (CLIP skip counts from 1, `stop_at_clip_layer` from -1).
    start_at_step: a denoising strength as the first step of KSamplerAdvanced, from the same node's `steps`.
    """

    parameter: Name
    node: str
    input: str
    form: Form = Field(default="value", alias="as")
    choices: dict[str | int, Drawn] | None = None


class Loras(_Strict):
    """The LoRA loader titled `node` is repeated for each tag in `parameter`, and left out if there is none."""

    parameter: Name
    node: str


class Bypass(_Strict):
    """The node titled `node` is left out when each named parameter (or word of the model) has a listed value."""

    node: str
    when: dict[Name, Annotated[tuple[Drawn, ...], Field(strict=False, min_length=1)]] = Field(min_length=1)


class Definition(_Strict):
    """One widget.yaml; `output` is the title of the node whose picture is the answer."""

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    output: str
    families: Annotated[tuple[Literal["sd15", "sdxl"], ...], Field(strict=False, min_length=1)]
    parameters: dict[Name, Parameter]
    bindings: Annotated[tuple[Binding, ...], Field(strict=False)]
    loras: Loras | None = None
    bypass: Annotated[tuple[Bypass, ...], Field(strict=False)] = ()

    @property
    def checkpoint(self) -> str:
        """The name of the checkpoint parameter; the audit has seen that there is exactly one."""
        return next(name for name, parameter in self.parameters.items() if isinstance(parameter, CheckpointParameter))

    @property
    def seed(self) -> str | None:
        """The name of the seed parameter, if there is one."""
        found = (name for name, parameter in self.parameters.items() if isinstance(parameter, SeedParameter))
        return next(found, None)

    @property
    def pictures(self) -> tuple[str, ...]:
        """The names of the picture parameters (masks are not among them)."""
        return tuple(name for name, parameter in self.parameters.items() if isinstance(parameter, PictureParameter))

    @property
    def masks(self) -> Mapping[str, MaskParameter]:
        """The mask parameters by name."""
        return {name: parameter for name, parameter in self.parameters.items() if isinstance(parameter, MaskParameter)}


def parse_definition(content: object) -> Definition:
    """The definition that the parsed YAML `content` spells; WorkflowError lists every key that is wrong, one a line."""
    try:
        return Definition.model_validate(content)
    except ValidationError as fault:
        lines = (f"{'.'.join(str(step) for step in error['loc'])}: {error['msg']}" for error in fault.errors())
        raise WorkflowError("\n".join(f"widget.yaml: {line}" for line in lines)) from fault
