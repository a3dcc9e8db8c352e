"""Measurements that print figures with their conditions, one JSON object a line; none of them passes or fails."""
