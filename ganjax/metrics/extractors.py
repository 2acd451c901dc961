"""Networks whose features the distances between sets of images are taken on."""

import hashlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import weights
from ganjax.errors import UserError
from ganjax.metrics.modes import FASHION_MNIST
from ganjax.metrics.resizing import DIALECTS, Dialect, resize
from ganjax.nets import inception, vgg16
from ganjax.nets.attributes import SIDE, Classifier
from ganjax.nets.darknet import TinyDarknet

NAMES = (
    "avatars", "fashion_mnist", "inception", "stacked", "tiny_darknet", "vgg16", "vgg16_fc2",
)  # fmt: skip
_WEIGHTS = {
    "avatars": "attributes_avatars",
    "fashion_mnist": "classify_fashion_mnist",
    "stacked": "classify_fashion_mnist",
    "vgg16": "vgg16_features",
    "vgg16_fc2": "vgg16",
}


class Extractor(NamedTuple):
    """A network with its weights, and all that is done to an image before it.

    Attributes:
      name: one of `NAMES`.
      digest: 16 hex digits that differ where the weights or the protocol (resizing, range) do.
      variables: the weights, float32; handed to `apply` so that no program holds them.
      apply: (variables, images uint8 [B, H, W, 3]) -> {"features": [B, D]} and, of classifiers,
        "logits": [B, K], both float32; pure, to be jitted by the caller.
    """

    name: str
    digest: str
    variables: Any
    apply: Callable[[Any, Array], dict[str, Array]]


def weights_of(name: str) -> str:
    """What `ganjax.weights` calls the weights of an extractor."""
    return _WEIGHTS.get(name, name)


def load(name: str, *, resizing: Dialect | Literal[""] = "") -> Extractor:
    """Loads an extractor by its name; its weights are those of `ganjax.weights`.

    Args:
      resizing: one of `ganjax.metrics.resizing.DIALECTS`; by default what the extractor's
        reference does.

    Raises:
      UserError: there is no such extractor or dialect, or its weights are not there.
    """
    if resizing and resizing not in DIALECTS:
        raise UserError(f"resizing {resizing!r} is unknown; there is {', '.join(DIALECTS)}")
    match name:
        case "avatars":  # which is in the package
            # A classifier's features are of any size; these come to that of Inception's, about 0.4,
            # where the kernel's 1 counts.
            return _make(name, Classifier().apply, SIDE, resizing or "clean", scale=1 / 32)
        case "fashion_mnist":
            return _make(name, _by_channel, SIDE, resizing or "clean")
        case "stacked":
            return _make(name, _by_channel, SIDE, resizing or "clean", crop=_unframed)
        case "inception":
            dialect = resizing or "tf1"
            center = 127.5 if dialect == "pytorch" else 128.0  # pytorch-fid has a range of its own
            network = inception.Inception()
            return _make(name, network.apply, inception.SIZE, dialect, center=center)
        case "tiny_darknet":
            return _make(name, TinyDarknet().apply, 224, resizing or "clean")
        case "vgg16":
            # Not the 224 pixels of its training: at 128, an image costs what it costs Inception.
            return _make(name, _pooled, 128, resizing or "clean")
        case "vgg16_fc2":
            return _make(name, vgg16.VGG16().apply, vgg16.SIZE, resizing or "tf1")
    raise UserError(f"extractor {name!r} is unknown; there is {', '.join(NAMES)}")


def _pooled(variables: Any, images: Array) -> dict[str, Array]:
    """VGG-16's last convolution after its ReLU, averaged over pixels: [B, 512]."""
    module, layer = vgg16.VGG16(dense=False), vgg16.LAYERS[-1]
    outputs = module.apply(variables, images, (layer,))
    return {"features": jnp.mean(outputs[layer], axis=(1, 2))}


def _by_channel(variables: Any, images: Array) -> dict[str, Array]:
    """Each of C channels as a gray image of Fashion-MNIST: [B, C * D] and [B, C * K]."""
    classifier = Classifier(len(FASHION_MNIST))
    batch, height, width, channels = images.shape
    gray = jnp.moveaxis(images, 3, 1).reshape(batch * channels, height, width, 1)
    outputs = classifier.apply(variables, gray)
    return {name: values.reshape(batch, -1) for name, values in outputs.items()}


def _unframed(images: Array) -> Array:
    """Without the frame that `data.source=stacked:` puts around 28x28 pixels at 32x32."""
    rows, columns = (side // 16 for side in images.shape[1:3])
    return images[:, rows : images.shape[1] - rows, columns : images.shape[2] - columns]


def _make(
    name: str,
    network: Callable[[Any, Array], dict[str, Array]],
    size: int,
    dialect: Dialect,
    *,
    center: float = 127.5,
    scale: float = 1.0,
    crop: Callable[[Array], Array] = lambda images: images,
) -> Extractor:
    """An extractor that sees (pixel - center) / center in squares of `size` pixels.

    Its features are multiplied by `scale`.
    """

    def apply(variables: Any, images: Array) -> dict[str, Array]:
        x = resize(crop(images), size, dialect=dialect)
        # Accelerators would round the factors of convolutions to fewer bits.
        with jax.default_matmul_precision("highest"):
            outputs = network(variables, (x - center) / center)
        logits = {name: outputs[name] for name in ("logits",) if name in outputs}
        return {"features": scale * outputs["features"], **logits}

    params = weights.load(weights_of(name))
    protocol = f"{name} {size} {dialect} {center} {scale}"
    variables = {"params": jax.tree.map(jnp.asarray, params)}
    return Extractor(name, digest_of(params, protocol), variables, apply)


def digest_of(params: Any, protocol: str) -> str:
    """16 hex digits of weights and of the text that says what is done with them."""
    digest = hashlib.sha256(protocol.encode())
    for path, leaf in jax.tree.leaves_with_path(params):
        digest.update(f"\n{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()[:16]
