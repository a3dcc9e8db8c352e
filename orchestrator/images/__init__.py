"""Pictures on their way in (source, mask) and out (output, store, links). Knows no widget, no graph and no backend."""
