"""From what a lenient caller sent to a complete, typed set of values, or to every complaint about it at once.

`""` and null mean the default, 25 may come as "25" or 25.0, keys that are no parameter are set aside; a value out of
range is refused, never clamped. Pure: pictures are passed through unread, randomness is handed in.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, assert_never

from orchestrator.errors import FieldError, InvalidParameters
from orchestrator.widgets import definition as d
from orchestrator.widgets.literals import Unreadable, beginning, meant, name_fault, real_number, shown, whole_number
from orchestrator.widgets.prompt import MOST_PARTS, LoraTag, extract_loras, parts, without_tags
from orchestrator.widgets.samplers import SAMPLERS, Sampler, find_sampler

N = TypeVar("N", int, float)
T = TypeVar("T")
Value = str | bytes | int | float | Sampler
RANDOM_SEEDS = 2**32 - 1
"""A seed that is drawn is below this: A1111 draws 32 bit, and people paste such seeds back."""


@dataclass(frozen=True)
class Values:
    """A caller's complete values. A parameter that has no default and was not given is absent."""

    settled: Mapping[str, Value]
    checkpoint: str
    """The checkpoint parameter's value: a model's name or Civitai version id."""
    seed: int | None
    """The seed parameter's value, already drawn if the caller asked for a random one; None if there is no such."""
    loras: tuple[LoraTag, ...]
    """The prompt's LoRA tags in order; they are no longer in its text."""

    def __contains__(self, name: str) -> bool:
        return name in self.settled

    def __iter__(self) -> Iterator[str]:
        return iter(self.settled)

    def text(self, name: str) -> str:
        """The value of a prompt, text or checkpoint parameter. KeyError if absent, TypeError if it is not text."""
        return _typed(self.settled[name], str)

    def integer(self, name: str) -> int:
        """The value of an integer or seed parameter."""
        return _typed(self.settled[name], int)

    def number(self, name: str) -> float:
        """The value of a number parameter."""
        return _typed(self.settled[name], float)

    def sampler(self, name: str) -> Sampler:
        """The value of a sampler parameter."""
        return _typed(self.settled[name], Sampler)

    def picture(self, name: str) -> str | bytes:
        """What the caller sent for a picture or mask parameter, unread: text (URL, base64) or a file's bytes."""
        value = self.settled[name]
        return value if isinstance(value, bytes) else _typed(value, str)


@dataclass(frozen=True)
class Checked:
    """The outcome of a check: the values, and the caller's keys that are no parameters, in the order they came."""

    values: Values
    ignored: tuple[str, ...]


def check(
    definition: d.Definition,
    raw: Mapping[str, object],
    randomness: random.Random | None = None,
    samplers: Mapping[str, Collection[Sampler]] = MappingProxyType({}),
) -> Checked:
    """The values that `raw` means for a widget. Raises InvalidParameters naming every bad field.

    A random seed is drawn from `randomness` (the system's if None). `samplers` is what each sampler parameter takes,
    all of them if it is not named.
    """
    settled: dict[str, Value] = {}
    complaints: list[FieldError] = []
    loras: tuple[LoraTag, ...] = ()
    ignored = tuple(key for key in raw if key not in definition.parameters)
    for name, parameter in definition.parameters.items():
        try:
            value = read(parameter, raw.get(name), samplers.get(name, SAMPLERS))
            if value is None:
                continue
            if isinstance(parameter, d.PromptParameter):
                value, found = _without_loras(definition, name, _typed(value, str))
                loras += found
            settled[name] = value
        except Unreadable as fault:
            complaints.append(FieldError(name, str(fault) if name in raw else f"{fault}{meant(name, ignored)}"))
        except InvalidParameters as fault:
            complaints.extend(fault.fields)
    if complaints:
        raise InvalidParameters(None, complaints)
    seed = _drawn_seed(definition, settled, randomness)
    return Checked(Values(MappingProxyType(settled), _typed(settled[definition.checkpoint], str), seed, loras), ignored)


def read(parameter: d.Parameter, raw: object, samplers: Collection[Sampler] = SAMPLERS) -> Value | None:
    """The value that `raw` means for one parameter; its default for None and "" (None if it has none and needs none).

    Raises Unreadable.
    """
    if _is_blank(parameter, raw):
        given, raw = raw, getattr(parameter, "default", None)
        if raw is None and parameter.required:
            raise Unreadable("is required" if given is None else "is empty")
        if raw is None:
            return None
    if isinstance(raw, tuple):
        raise Unreadable("is given more than once")
    match parameter:
        case d.PictureParameter() | d.MaskParameter():
            if isinstance(raw, str | bytes):
                return raw
            raise Unreadable(f"must be a picture: a URL, a data URL, base64 or a file; got {shown(raw)}")
        case d.CheckpointParameter():
            return _read_model(raw)
        case d.PromptParameter() | d.TextParameter():
            return _read_text(raw, parameter.longest)
        case d.IntegerParameter():
            return _read_integer(parameter, raw)
        case d.NumberParameter():
            return _read_number(parameter, raw)
        case d.SeedParameter():
            return _in_range(raw, whole_number, -1, d.LARGEST_SEED, "a whole number")
        case d.SamplerParameter():
            if not isinstance(raw, str):
                raise Unreadable(f"must be the name of a sampler; got {shown(raw)}")
            return find_sampler(raw, samplers)
        case d.ChoiceParameter():
            return _read_choice(parameter, raw)
        case _:
            assert_never(parameter)


def _read_model(raw: object) -> str:
    number = whole_number(raw)
    name = raw.strip() if isinstance(raw, str) else "" if number is None else str(number)
    fault = name_fault(name)
    if fault:
        raise Unreadable(f"must be a Civitai model version id or a model's name; got {shown(raw)}")
    return name


def _read_text(raw: object, longest: int) -> str:
    if isinstance(raw, bytes):
        # A file of a form, or a long string of JSON; no more of it than shows that it is too long.
        text = beginning(raw, 4 * (longest + 1))
    elif isinstance(raw, bool) or not isinstance(raw, str | int | float):
        text = None
    else:
        text = raw if isinstance(raw, str) else shown(raw)
    if text is None:
        raise Unreadable(f"must be text; got {shown(raw)}")
    if len(text) > longest:
        raise Unreadable(f"must be at most {longest} characters long; got {_length(raw, text)}")
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise Unreadable("holds half of a surrogate pair, which is not a character") from fault
    # The editor's text fields know one kind of line end; a job that is opened there has to show what ran.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _length(raw: object, text: str) -> str:
    return "more" if isinstance(raw, bytes) and len(raw) > len(text.encode()) else str(len(text))


def _read_choice(parameter: d.ChoiceParameter, raw: object) -> str:
    word = raw.strip().lower() if isinstance(raw, str) else None
    for option in parameter.options:
        if option.lower() == word:
            return option
    raise Unreadable(f"must be {' or '.join(parameter.options)}; got {shown(raw)}")


def _read_integer(parameter: d.IntegerParameter, raw: object) -> int:
    if (parameter.minimum, parameter.maximum) == (0, 1):
        if isinstance(raw, bool):
            return int(raw)
        if isinstance(raw, str) and raw.strip().lower() in ("true", "false"):
            return int(raw.strip().lower() == "true")
    return _in_range(raw, whole_number, parameter.minimum, parameter.maximum, "a whole number")


def _read_number(parameter: d.NumberParameter, raw: object) -> float:
    return _in_range(raw, real_number, parameter.minimum, parameter.maximum, "a number")


def _in_range(raw: object, reader: Callable[[object], N | None], low: N, high: N, what: str) -> N:
    number = reader(raw)
    if number is None or not low <= number <= high:
        raise Unreadable(f"must be {what} from {low} to {high}; got {shown(raw)}")
    return number


def _without_loras(definition: d.Definition, name: str, text: str) -> tuple[str, tuple[LoraTag, ...]]:
    """The text to encode and the LoRAs to load. Tags in the prompt that `loras` does not name are dropped unread."""
    if definition.loras is not None and definition.loras.parameter != name:
        return without_tags(text), ()
    text, tags = extract_loras(text, name)
    if tags and definition.loras is None:
        raise Unreadable("has a LoRA tag, but this widget's workflow takes no LoRAs")
    if parts(text) > MOST_PARTS:
        raise Unreadable(f"has more than {MOST_PARTS} parts joined by AND")
    return text, tags


def _drawn_seed(definition: d.Definition, settled: dict[str, Value], randomness: random.Random | None) -> int | None:
    """The seed; puts the one that it draws in place of -1."""
    if definition.seed is None:
        return None
    seed = _typed(settled[definition.seed], int)
    if seed == -1:
        seed = (randomness or random.SystemRandom()).randrange(RANDOM_SEEDS)
        settled[definition.seed] = seed
    return seed


def _is_blank(parameter: d.Parameter, raw: object) -> bool:
    """True if `raw` stands for the default. Blanks do too, but in text: they are how a caller says "no text"."""
    if isinstance(raw, str) and not isinstance(parameter, d.PromptParameter | d.TextParameter):
        return not raw.strip()
    return raw is None or raw in ("", b"")


def _typed(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"the value is {type(value).__name__}, not {kind.__name__}")
    return value
