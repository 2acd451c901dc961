"""Exact fast forms of what networks are made of: each equals a plain form, value and gradients."""

from ganjax.ops.channels import add_bias, batch_norm, instance_norm, layer_norm, prelu
from ganjax.ops.convolutions import (
    conv,
    conv_downsample,
    conv_transpose,
    grouped_conv,
    upsample_conv,
)
from ganjax.ops.resampling import (
    blur_downsample,
    blur_upsample,
    depth_to_space,
    fir_downsample,
    fir_upsample,
    haar,
    inverse_haar,
    max_pool,
    pad_reflect,
    shrink,
    space_to_depth,
    upsample,
    warp,
)

__all__ = [
    "add_bias",
    "batch_norm",
    "blur_downsample",
    "blur_upsample",
    "conv",
    "conv_downsample",
    "conv_transpose",
    "depth_to_space",
    "fir_downsample",
    "fir_upsample",
    "grouped_conv",
    "haar",
    "inverse_haar",
    "instance_norm",
    "layer_norm",
    "max_pool",
    "pad_reflect",
    "prelu",
    "shrink",
    "space_to_depth",
    "upsample",
    "upsample_conv",
    "warp",
]
