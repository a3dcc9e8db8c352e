"""What kind of failure a node's exception is: the graph's own, the text's that it was given, too little memory, or a
device that is broken. Pure.

Told by the names and texts of exceptions, PyTorch's and our packs'; there is nothing better in a history entry.
"""

import re

from orchestrator.errors import BackendError, DeviceFault, ExecutionFailed, OutOfMemory

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|(CUDA|HIP)( error:)? out of memory|Allocation on device|CUBLAS_STATUS_ALLOC_FAILED"
    r"|DefaultCPUAllocator: (can't|not enough) .*memory",
)
_DEVICE_FAULT = re.compile(
    r"CUDA error: (?!out of memory|invalid argument)|HIP error: (?!out of memory|invalid argument)"
    r"|CUDNN_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED|MAPPING_ERROR)|CUBLAS_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR)"
    r"|device-side assert|illegal memory access|uncorrectable ECC|no longer accessible|GPU is lost",
    re.IGNORECASE,
)
"""After one of these the process's context on the device is gone: whatever it runs next fails too."""

_INPUT_AT_FAULT = ("a1111_inpaint.prompt.TooLong",)
"""Exceptions of our packs. What stands before that is where the pack lies."""


class InputRefused(Exception):
    """A node cannot use the text that it was given, which may be a caller's or the artist's.

    `node` is its id, `complaint` says what is wrong with the text, and `detail` names the node, too.
    """

    def __init__(self, node: str, complaint: str, detail: str) -> None:
        self.node = node
        self.complaint = complaint
        self.detail = detail
        super().__init__(detail)


def refuses_input(kind: str) -> bool:
    """Whether an exception of class `kind` says that a text was at fault."""
    return kind.endswith(_INPUT_AT_FAULT)


def failure(kind: str, text: str, what: str) -> BackendError:
    """The error for an exception of class `kind` with this text; `what` is the sentence to say, node and all."""
    said = f"{kind}: {text}"
    if _OUT_OF_MEMORY.search(said):
        return OutOfMemory(what)
    return DeviceFault(what) if _DEVICE_FAULT.search(said) else ExecutionFailed(what)
