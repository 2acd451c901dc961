"""Editing what a generator draws: directions of its latent space."""
