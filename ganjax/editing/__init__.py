"""Editing what a generator draws: directions of z, inversion of photographs."""
