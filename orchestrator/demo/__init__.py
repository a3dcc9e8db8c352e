"""`orchestrator demo`: a sample picture (`sample.jpg`, drawn by formula) repainted under `mask.png` by the service.

A caller like any other: it speaks HTTP to the service and reads no part of it but the progress of its jobs.
"""
