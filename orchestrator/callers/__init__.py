"""Who calls: API keys, what each may do and how much of it. Knows nothing of HTTP, nor of what is asked for."""
