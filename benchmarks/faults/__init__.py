"""Breaks real runs on purpose: `python -m benchmarks.faults --help`."""
