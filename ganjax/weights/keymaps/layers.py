"""What maps of several layouts share: reading arrays, folding normalization, holding to shapes."""

from collections.abc import Iterable, Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np

from ganjax.errors import UserError
from ganjax.trees import named_leaves

Arrays = dict[str, np.ndarray]
# Mean and standard deviation by which torchvision standardizes RGB.
_TORCHVISION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def take(arrays: Arrays, name: str, rank: int) -> np.ndarray:
    """An array in float32.

    Raises:
      UserError: it is missing, or has another number of axes.
    """
    if name not in arrays:
        near = ", ".join(f"{other!r:.60}" for other in list(arrays)[:4])
        raise UserError(f"the file has no array {name!r}; it has {near or 'none'}, ...")
    if arrays[name].ndim != rank:
        raise UserError(f"array {name} has shape {arrays[name].shape}; it must have {rank} axes")
    return arrays[name].astype(np.float32)


def torch_layers(arrays: Arrays, names: Mapping[str, str], *, prefix: str = "") -> Arrays:
    """Convolutions of a state dict: {module in the file: layer of ours}."""
    parameters = {}
    for module, layer in names.items():
        kernel = take(arrays, f"{prefix}{module}.weight", 4)
        parameters[f"{layer}/kernel"] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
        parameters[f"{layer}/bias"] = take(arrays, f"{prefix}{module}.bias", 1)
    return parameters


def color_layer(kernel: np.ndarray, bias: Iterable[float]) -> Arrays:
    """`conv0` from RGB in [0, 1]: kernel [3, 3] (input, output) and bias [3]."""
    return {
        "conv0/kernel": np.asarray(kernel, np.float32)[None, None],
        "conv0/bias": np.asarray(bias, np.float32),
    }


def torchvision_colors() -> Arrays:
    """`conv0` of networks that take standardized RGB."""
    mean, std = (np.array(values) for values in _TORCHVISION)
    return color_layer(np.diag(1 / std), -mean / std)


def folded(arrays: Arrays, kernel: np.ndarray, norm: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Kernel [..., C_out] and bias of a convolution and the normalization after it, eps 0.001.

    Args:
      norm: names of the normalization's gamma, beta, mean and variance.
    """
    gamma, beta, mean, variance = (take(arrays, name, 1).astype(np.float64) for name in norm)
    if {gamma.size, beta.size, mean.size, variance.size} != {kernel.shape[-1]}:
        raise UserError(f"array {norm[0]} and those beside it must have {kernel.shape[-1]} values")
    scale = gamma / np.sqrt(variance + 1e-3)
    return (kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)


def fit(parameters: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Holds parameters to the names and shapes that they must have.

    Raises:
      UserError: one is missing or of another shape.
    """
    for name, shape in shapes.items():
        if name not in parameters or parameters[name].shape != shape:
            there = parameters[name].shape if name in parameters else "nothing"
            raise UserError(f"{name} has {there}; it must have the shape {shape}")
    return parameters


def shapes_of(module: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters of a network on images of `size` pixels."""
    images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    return {name: leaf.shape for name, leaf in named_leaves(params).items()}
