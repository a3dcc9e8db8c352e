"""Which model a caller means, whether it fits, and what a backend calls its file."""
