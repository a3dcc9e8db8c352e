"""How often each caller has asked of late. Exact: of any 60 seconds, none holds more than the rate. In memory."""

from collections import deque
from collections.abc import Callable

from orchestrator.callers.caller import Caller
from orchestrator.errors import FieldError, LimitReached

_WINDOW = 60.0


class Rates:
    """Counts runs that were asked for, by caller; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[str, deque[float]] = {}

    def count(self, caller: Caller) -> None:
        """One more. Raises LimitReached, and then it does not count."""
        rate = caller.limits.rate
        if rate is None:
            return
        now = self._clock()
        asked = self._asked.setdefault(caller.id, deque())
        while asked and asked[0] <= now - _WINDOW:
            asked.popleft()
        if len(asked) >= rate:
            complaint = FieldError("rate", f"at most {rate} runs a minute")
            # A rate that was lowered meanwhile lets the next in when enough of what was asked is old.
            wait = asked[len(asked) - rate] + _WINDOW - now
            raise LimitReached(f"This API key may ask for {rate} runs a minute", [complaint], retry_after=wait)
        asked.append(now)
