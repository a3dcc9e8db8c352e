"""What kind of failure a node's exception is: the graph's own, too little memory, or a device that is broken. Pure.

Told by the names and texts that PyTorch gives its exceptions; there is nothing better in a history entry.
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


def failure(kind: str, text: str, what: str) -> BackendError:
    """The error for an exception of class `kind` with this text; `what` is the sentence to say, node and all."""
    said = f"{kind}: {text}"
    if _OUT_OF_MEMORY.search(said):
        return OutOfMemory(what)
    return DeviceFault(what) if _DEVICE_FAULT.search(said) else ExecutionFailed(what)
