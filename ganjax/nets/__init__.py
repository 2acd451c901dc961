"""Flax linen modules, one file per published network; images are [B, H, W, C] in [-1, 1]."""
