"""Settings from one YAML file and the environment.

A variable `ORCHESTRATOR_<NAME>` overrides the file's value of that name; only single values can be set so, not the list
of backends.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import FieldError, SettingsError
from orchestrator.settings import ManagedBackend, RemoteBackend, Settings

_PREFIX = "ORCHESTRATOR_"
_OTHERS = frozenset({"URL", "API_KEY", "PUBLISH_URL", "PUBLISH_KEY"})
"""Variables of that prefix which are no settings: the client's, and the node packs'."""
_BACKENDS: Mapping[str, type[BaseModel]] = {"remote": RemoteBackend, "managed": ManagedBackend}
_WORDS = {
    "tuple_type": "must be a list, such as [one, another]",
    "dict_type": "must be names and values, such as {name: value}",
    "model_type": "must be names and values, such as {name: value}",
    "model_attributes_type": "must be names and values, such as {name: value}",
}
"""In place of pydantic's, by its types of errors."""
_PATTERNS = {
    "url": "must be an address such as http://gpu:8188, with no path behind the port",
    "editor_url": "must be an address such as http://gpu:8188",
    "civitai_url": "must be an address such as https://civitai.com, or empty",
    "name": "must be letters, digits, '.', '_' and '-', and begin with a letter or digit",
}
"""In place of the regular expression that a value does not match."""
_LINKED = re.compile(r"SERVICE_(HOST|PORT)\w*|PORT_\d+_\w+", re.ASCII)
"""What Kubernetes sets in every container beside a service that is called orchestrator."""


class _Loader(yaml.SafeLoader):
    """Refuses a name that is given twice, of which YAML's loaders take the last in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} is given twice, in lines {lines[key.value]} and {line}"
                )
            lines[key.value] = line
        return node


def load(file: Path | None, environment: Mapping[str, str], **overrides: object) -> Settings:
    """Settings from a YAML file, then the environment, then `overrides` that are not None.

    Raises SettingsError naming each bad setting.
    """
    values: dict[str, object] = {}
    if file is not None:
        values.update(_read(file))
    values.update(_from_environment(environment))
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        complaints = [FieldError(_place(item["loc"]), _in_words(item)) for item in error.errors()]
        listed = "; ".join(f"{complaint.field}: {complaint.message}" for complaint in complaints)
        raise SettingsError(f"The settings cannot be used: {listed}", complaints) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Raises SettingsError for a variable of the prefix that is no setting, which would be passed over in silence."""
    values: dict[str, object] = {}
    for variable, given in environment.items():
        name = variable.removeprefix(_PREFIX)
        if name == variable or name in _OTHERS or _LINKED.fullmatch(name):
            continue
        if name.lower() not in Settings.model_fields or name != name.upper():
            near = _nearest(name.lower(), Settings)
            raise SettingsError(f"{variable} is no setting; is {_PREFIX}{near.upper()} meant?")
        values[name.lower()] = given
    return values


def _nearest(name: str, settings: type[BaseModel]) -> str:
    return difflib.get_close_matches(name, settings.model_fields, 1, 0.0)[0]


def _in_words(fault: ErrorDetails) -> str:
    """What is wrong with a value, for people who know no Python. Never the value itself: it may be a secret."""
    loc, name = fault["loc"], str(fault["loc"][-1])
    match fault["type"]:
        case "extra_forbidden" if len(loc) == 1:
            return f"is no setting; is {_nearest(name, Settings)} meant?"
        case "extra_forbidden" if loc[2] in _BACKENDS:
            return f"is no setting of a backend; is {_nearest(name, _BACKENDS[str(loc[2])])} meant?"
        case "value_error":
            return str(fault["ctx"]["error"])
        case "string_pattern_mismatch" if name in _PATTERNS:
            return _PATTERNS[name]
        case "union_tag_invalid":
            return f"kind {fault['ctx']['tag']!r} is neither remote nor managed"
        case kind:
            return _WORDS.get(kind, fault["msg"])


def _place(loc: tuple[int | str, ...]) -> str:
    """Where a complaint belongs, `backends.0.url`; which kind of backend it was read as goes without saying."""
    return ".".join(str(part) for n, part in enumerate(loc) if not (n == 2 and part in ("remote", "managed")))


def _read(file: Path) -> dict[str, object]:
    try:
        content = yaml.load(file.read_text(), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"The settings file {file} is not a list of names and values")
    return content
