"""Why Civitai did not give what was asked: its status and body as one of our errors, with what to do about it. Pure."""

from collections.abc import Mapping

from orchestrator.errors import (
    DownloadFailed,
    ModelError,
    ModelGated,
    ModelGone,
    ModelNotFound,
    ModelRegionBlocked,
    ModelUnavailable,
    ModelUnsafe,
)

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530})
"""Statuses that may be another one in a moment; 52x are those of Cloudflare, which stands in front."""

_REMEMBERED_SECONDS: Mapping[type[ModelError], float] = {
    ModelNotFound: 600.0,
    ModelGone: 3600.0,
    ModelGated: 300.0,
    ModelRegionBlocked: 3600.0,
    ModelUnsafe: 600.0,
    DownloadFailed: 3600.0,
}
_SET_KEY = "set civitai_key (ORCHESTRATOR_CIVITAI_KEY) to a key from https://civitai.com/user/account"


def remembered_seconds(error: ModelError) -> float:
    """How long the same question needs not be asked again; 0 for an answer that may be another one at once."""
    return next((seconds for kind, seconds in _REMEMBERED_SECONDS.items() if isinstance(error, kind)), 0.0)


def refusal(status: int, body: Mapping[str, object], what: str, has_key: bool, retry_after: float) -> ModelError:
    """The error for an answer that is not a success. `what` names the thing asked for, at the start of a sentence."""
    said = next((text for key in ("message", "error") if isinstance(text := body.get(key), str) and text), "")[:300]
    if status in PASSING:
        why = "is limiting our downloads" if status == 429 else f"answers {status}"
        return ModelUnavailable(f"Civitai {why}{_quoted(said)}; try again later", retry_after=retry_after)
    if status == 451:
        return ModelRegionBlocked(
            f"Civitai does not serve this service's region{_quoted(said)}; set civitai_url to a "
            f"mirror, or put the file on the shelf by hand"
        )
    if status == 410:
        return ModelGone(f"{what} was archived at Civitai; choose another version")
    if status == 401:
        return ModelGated(f"{what} {_unauthorized(said, has_key)}")
    if status == 403:
        return ModelGated(f"{what} {_forbidden(body, said, has_key)}")
    if status == 404:
        return ModelNotFound(f"{what} is not known to Civitai, or not published{_quoted(said)}; check the id")
    return ModelUnavailable(
        f"Civitai answers {status}{_quoted(said)} when asked for {what[:1].lower()}{what[1:]}", retry_after=retry_after
    )


def refuses_key(status: int, body: Mapping[str, object]) -> bool:
    """Whether an answer to a request with a key means that Civitai does not know the key."""
    return status == 401 and not _is_turned_off(str(body.get("message") or body.get("error") or ""))


def _is_turned_off(said: str) -> bool:
    return "disabled downloads" in said.lower()


def _unauthorized(said: str, has_key: bool) -> str:
    if _is_turned_off(said):
        return "cannot be downloaded: its creator has turned downloads off; choose another version"
    if has_key:
        # Civitai treats a key that it does not know like none at all.
        return f"needs a Civitai API key, and Civitai does not take the one that is set{_quoted(said)}; {_SET_KEY}"
    return f"needs a Civitai API key{_quoted(said)}; {_SET_KEY}"


def _forbidden(body: Mapping[str, object], said: str, has_key: bool) -> str:
    if "early access" in f"{body.get('error')} {said}".lower():
        deadline = body.get("deadline")
        until = f" until {deadline[:40]}" if isinstance(deadline, str) and deadline else ""
        key = "buy access with the account of the key that is set" if has_key else f"buy access and {_SET_KEY}"
        return f"is in early access{until}: wait, or {key}"
    return f"is not given to {'the account of the key that is set' if has_key else 'us'}{_quoted(said)}; " + (
        "use another account's key" if has_key else _SET_KEY
    )


def _quoted(said: str) -> str:
    return f' ("{said}")' if said else ""
