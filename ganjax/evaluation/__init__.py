"""Measuring images: sets of them, metrics over sets, runs while they train, and people."""
