"""Which hosts models may come from. Pure.

An entry is a host (`b2.civitai.com`), where `*` stands for one whole label, reached by https on port 443; or a whole
origin (`http://127.0.0.1:9000`), for a mirror that the operator runs.
"""

from collections.abc import Sequence

from yarl import URL


class AllowedOrigins:
    """Says whether a URL may be asked."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._origins = frozenset(URL(entry).origin() for entry in entries if "://" in entry)
        self._hosts = tuple(tuple(entry.lower().split(".")) for entry in entries if "://" not in entry)

    def permits(self, url: URL) -> bool:
        """Whether this URL, with its scheme and port, is at a listed place. One with a user name never is."""
        if not url.is_absolute() or url.user is not None or url.host is None:
            return False
        if url.scheme in ("http", "https") and url.origin() in self._origins:
            return True
        if url.scheme != "https" or url.port != 443:
            return False
        labels = tuple(url.host.lower().split("."))
        return any(_matches(pattern, labels) for pattern in self._hosts)


def _matches(pattern: tuple[str, ...], labels: tuple[str, ...]) -> bool:
    return len(pattern) == len(labels) and all(
        want in ("*", label) for want, label in zip(pattern, labels, strict=True)
    )


def shown(url: URL) -> str:
    """A URL for people and logs: without its query, where keys and signatures stand."""
    return f"{url.scheme}://{url.host}{'' if url.is_default_port() else f':{url.port}'}{url.path}"
