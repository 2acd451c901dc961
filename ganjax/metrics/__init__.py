"""How good images are; a metric's name or docstring carries its protocol."""
