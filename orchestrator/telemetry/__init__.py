"""How the service is seen from outside: metrics, log lines, spans. Told what happens; nothing else depends on it."""
