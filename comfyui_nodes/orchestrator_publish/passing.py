"""What the editor's page may have passed on, to where, and with which key. Standard library; knows nothing of ComfyUI.

A browser lets any page send requests to this machine. So a request must say that it is one of the editor's own script,
in a header that no foreign page can send without being asked about, and must not come from a page of another address.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

MARK = "X-Orchestrator-Publish"
URL = "ORCHESTRATOR_PUBLISH_URL"
KEY = "ORCHESTRATOR_PUBLISH_KEY"
_PASSED = ("workflow", "replace", "anew", "dry_run", "title", "description")


class Refused(Exception):
    """The request is not one that is passed on; the text says why."""


@dataclass(frozen=True)
class Passing:
    """One request to the service."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, object]


def admit(headers: Mapping[str, str]) -> None:
    """Raises Refused for what is not the editor's own script, as far as a browser tells."""
    if headers.get(MARK) != "1":
        raise Refused(f"the header {MARK} is missing")
    origin, host = headers.get("Origin"), headers.get("Host", "")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refused("a page of another address cannot publish")
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Refused("a page of another address cannot publish")


def passing(said: object, host: str, environment: Mapping[str, str]) -> Passing:
    """What goes to the service for the body that the script sent. `host` is what the page knows this ComfyUI as.

    An address in the environment holds whatever the page says, and the environment's key goes nowhere else; nor is it
    used for a page under a name, which a stranger's name server can give to this machine. Raises Refused.
    """
    if not isinstance(said, dict) or not isinstance(said.get("name"), str) or not said["name"]:
        raise Refused("name is missing")
    given, fixed = said.get("address") or "", environment.get(URL, "")
    address = _origin(fixed or given)
    key = said.get("key") or ""
    if not key and fixed and _is_this_machine(host):
        key = environment.get(KEY, "")
    if not isinstance(key, str) or not (key.isascii() and (key.isprintable() or not key)):
        raise Refused("the key in the settings holds characters that no key has")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {word: said[word] for word in _PASSED if word in said}
    return Passing(f"{address}/widgets/{quote(said['name'], safe='')}", headers, body)


def _origin(address: object) -> str:
    if not address:
        raise Refused("set the service's address in the settings, under Orchestrator: http://127.0.0.1:8080, say")
    try:
        parts = urlsplit(str(address).strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise Refused(f"{address} is no address such as http://127.0.0.1:8080")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _is_this_machine(host: str) -> bool:
    name = (urlsplit(f"//{host}").hostname or "").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return True
