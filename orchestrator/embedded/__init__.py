"""A ComfyUI of our own for a machine without a GPU: its HTTP and websocket API in one process, torch on the CPU.

The way of one prompt: `server` takes `POST /prompt`; `validation` checks the graph against the `catalogue` of node
classes and answers in ComfyUI's form; `prompts` queues it; the `engine`'s worker thread hands it to the `executor`,
which runs what the output nodes need, takes from `caching` what the last prompt already computed, and tells each step
to `sockets`; what came out is in the history before the last message leaves. The nodes themselves are in `nodes/`
(ComfyUI's core classes, written anew) and in packs that `packs` loads as ComfyUI does. Sampling goes
`nodes.sampling` → `sampler` → `schedule` (noise levels) and `samplers_*` (the solvers) → `guidance` (one denoising
call) → a UNet that `checkpoint` loaded and `lora` patched.

A program of its own: it imports nothing of the service, and the service only starts it and speaks its protocol.
"""
