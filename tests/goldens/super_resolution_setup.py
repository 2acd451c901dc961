"""What both sides of the golden of super-resolution's networks start from: weights, inputs."""

from pix2pix_setup import draw

WIDTH, DEPTH = 4, 2
SHAPE = (2, 4, 5, 3)
SIDE = 32  # of the discriminator's images
# Network and scale.
FORMS = (("srvgg", 3), ("srresnet", 2), ("srresnet", 4), ("msrresnet", 4), ("rrdb", 4))


def draw_images(*shape):
    """In [-1, 1], but for a few that are beyond."""
    return draw("images", shape) * 2
