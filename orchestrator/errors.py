"""Every error that crosses a module, grouped by who can mend it. Pure: knows nothing of HTTP.

OrchestratorError
├── RequestError              the caller: the request itself is at fault, nothing was run
│   ├── MalformedBody         not JSON, not a form, not base64 where that was asked
│   ├── BodyTooLarge
│   ├── BodyTooSlow
│   ├── EncodedBody           compressed, which is refused
│   ├── UnknownWidget
│   ├── InvalidParameters     one or more parameters, each named
│   ├── ImageNotFound
│   ├── LinkExpired
│   ├── JobNotFound
│   ├── NoEditor              no editor that the caller could reach can be handed the job
│   ├── JobEnded              too late to cancel it
│   ├── JobCancelled
│   ├── KeyReused             an Idempotency-Key that came with another request before
│   ├── WidgetExists          and was not to be replaced
│   ├── WorkflowRefused       a workflow that was to be published: every fault is a field error
│   ├── KeyNeeded             no API key, or one that is not known
│   ├── NotPermitted          the API key lacks a right
│   └── LimitReached          of the API key; carries retry_after
├── ModelError                the caller or the operator
│   ├── ModelNotFound         unknown here and at Civitai; names what there is
│   ├── ModelGone             archived or taken down
│   ├── ModelGated            needs a key, a purchase or its creator's leave
│   ├── ModelRegionBlocked
│   ├── ModelMismatch         a LoRA that does not fit the checkpoint, a family that the widget cannot run
│   ├── ModelUnsafe           a pickle, or a file that a scan found fault with
│   ├── ModelUnavailable      Civitai does not answer now; carries retry_after
│   └── DownloadFailed        what came is not the file that was promised
├── WorkflowError             the artist: a workflow folder is at fault, the service does not start
├── BackendError              the operator
│   ├── QueueFull             carries retry_after
│   ├── NoBackend
│   ├── GraphRejected         the backend's validation refused the graph
│   ├── ExecutionFailed       a node raised: node title, class and text
│   │   └── OutOfMemory       the same, for want of memory on the device
│   ├── JobInterrupted        somebody interrupted the run at the backend
│   ├── BackendLost
│   │   └── DeviceFault       its GPU is broken until the backend is restarted
│   ├── BackendTimeout
│   └── JobUnfinished         the job goes on, its caller has waited long enough
│       └── ServiceStopping   or the service is being stopped, and the job goes on when it is back
├── StorageError              the operator
│   ├── StorageFull
│   └── ShelfFull             no room for a model, and nothing on the shelf that may go
├── SettingsError             the operator: the service does not start
└── ServiceUnreachable        the client's alone: no answer, or one that is not this service's
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One complaint about one field of a request; the message says what to change."""

    field: str
    message: str


def naming(fields: Sequence[FieldError]) -> str:
    """A sentence that names the fields at fault; what is wrong with each, their messages say."""
    names = list(dict.fromkeys(complaint.field for complaint in fields))
    return f"{'This parameter' if len(names) == 1 else 'These parameters'} cannot be used: {', '.join(names)}"


class OrchestratorError(Exception):
    """The service failed."""

    retryable = False
    """True when the same request may well succeed later."""
    retry_after: float | None = None
    """Seconds until then, where that is known."""

    def __init__(
        self, detail: str | None = None, fields: Sequence[FieldError] = (), *, retry_after: float | None = None
    ) -> None:
        self.detail = detail or self._said_of(fields)
        self.fields = tuple(fields)
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.detail)

    def _said_of(self, fields: Sequence[FieldError]) -> str:
        return (type(self).__doc__ or "").split("\n")[0]

    @property
    def code(self) -> str:
        """The class as a word for programs, such as `invalid_parameters`."""
        return _code_of(type(self))


class RequestError(OrchestratorError):
    """The request cannot be served as it is."""


class MalformedBody(RequestError):
    """The body is not what its content type says."""


class BodyTooLarge(RequestError):
    """The body is larger than this service takes."""


class BodyTooSlow(RequestError):
    """The body came too slowly."""


class EncodedBody(RequestError):
    """The body is compressed; send it as it is."""


class UnknownWidget(RequestError):
    """There is no widget of that name."""


class InvalidParameters(RequestError):
    """Some parameters cannot be used."""

    def _said_of(self, fields: Sequence[FieldError]) -> str:
        return naming(fields) if fields else super()._said_of(fields)


class ImageNotFound(RequestError):
    """There is no such image."""


class LinkExpired(RequestError):
    """The link has expired or was not signed by this service."""


class JobNotFound(RequestError):
    """There is no such job, or it ended too long ago."""


class NoEditor(RequestError):
    """There is no editor to open the job in."""


class JobEnded(RequestError):
    """The job had ended before it could be cancelled."""


class JobCancelled(RequestError):
    """The job was cancelled."""


class KeyReused(RequestError):
    """This Idempotency-Key came with another request before; use another key for this one."""


class WidgetExists(RequestError):
    """There is a widget of that name already."""


class WorkflowRefused(RequestError):
    """The workflow cannot be a widget as it is."""


class KeyNeeded(RequestError):
    """An API key is needed: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""


class NotPermitted(RequestError):
    """This API key may not do that."""


class LimitReached(RequestError):
    """A limit of this API key is reached."""

    retryable = True
    retry_after: float = 1.0


class ModelError(OrchestratorError):
    """The model cannot be used."""


class ModelNotFound(ModelError):
    """There is no such model."""


class ModelGone(ModelError):
    """The model was taken away by its creator or by Civitai."""


class ModelGated(ModelError):
    """Civitai does not give this file to everybody."""


class ModelRegionBlocked(ModelError):
    """Civitai does not serve the region that this service runs in."""


class ModelMismatch(ModelError):
    """The models do not fit together."""


class ModelUnsafe(ModelError):
    """The file is not safe to load."""


class ModelUnavailable(ModelError):
    """Civitai does not answer now."""

    retryable = True
    retry_after: float = 30.0


class DownloadFailed(ModelError):
    """What came is not the file that was promised."""


class WorkflowError(OrchestratorError):
    """A workflow folder is faulty."""


class BackendError(OrchestratorError):
    """The backend failed."""


class QueueFull(BackendError):
    """Too many jobs are waiting."""

    retryable = True
    retry_after: float = 30.0


class NoBackend(BackendError):
    """No backend can run this job now."""

    retryable = True


class GraphRejected(BackendError):
    """The backend refused the graph."""


class ExecutionFailed(BackendError):
    """A node of the graph failed."""


class OutOfMemory(ExecutionFailed):
    """The job needs more memory than the backend's device has."""


class JobInterrupted(BackendError):
    """The job was interrupted at the backend."""

    retryable = True


class BackendLost(BackendError):
    """The backend was lost while the job ran."""

    retryable = True


class DeviceFault(BackendLost):
    """The backend's GPU failed."""


class BackendTimeout(BackendError):
    """The backend took longer than the deadline."""

    retryable = True


class JobUnfinished(BackendError):
    """The job takes longer than a request may wait; it goes on and can be asked for."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__()


class ServiceStopping(JobUnfinished):
    """The service is being stopped; the job goes on when it is back, and can be asked for then."""

    retryable = True


class StorageError(OrchestratorError):
    """The image store failed."""


class StorageFull(StorageError):
    """The image store is full."""

    retryable = True


class ShelfFull(StorageError):
    """There is no room for the model, and nothing on the shelf may go."""

    retryable = True


class SettingsError(OrchestratorError):
    """The settings cannot be used."""


class ServiceUnreachable(OrchestratorError):
    """The service does not answer."""

    retryable = True


def from_code(
    code: str, detail: str, fields: Sequence[FieldError] = (), retry_after: float | None = None
) -> OrchestratorError:
    """The error of that code, as it was before it was written down; of an unknown code, an OrchestratorError."""
    kinds: list[type[OrchestratorError]] = [OrchestratorError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    alike = (kind for kind in kinds if _code_of(kind) == code and kind.__init__ is OrchestratorError.__init__)
    return next(alike, OrchestratorError)(detail, fields, retry_after=retry_after)


def _code_of(kind: type[OrchestratorError]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
