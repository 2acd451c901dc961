"""ganjax: generating images with GANs and moving style between images, in JAX and Flax."""

__version__ = "0.1.0"
