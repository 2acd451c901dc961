"""Images of a folder or .zip through PyTorch's DataLoader, decoded by Pillow in each epoch."""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import Program
from ganjax.images.formats import SUFFIXES


def build(*, path: Path, batch_size: int, image_size: int, workers: int = 2) -> Program:
    """A step takes one batch, float32 [B, 3, H, W] in [-1, 1], shuffled and flipped at random."""
    images = Images(path, image_size)
    loader = DataLoader(
        images,
        batch_size=min(batch_size, len(images)),
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=True,
    )
    batches = _endless(loader)

    def run(steps: int) -> None:
        for _ in range(steps):
            next(batches)

    return Program(run, least=40)


def _endless(loader: DataLoader):
    while True:
        yield from loader


class Images(Dataset):
    """What torchvision's ImageFolder with Resize, CenterCrop and RandomHorizontalFlip does."""

    def __init__(self, path: Path, image_size: int):
        self.path, self.image_size, self.archive = path, image_size, None
        if path.is_dir():
            names = [str(file) for file in path.rglob("*")]
        else:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        self.names = sorted(name for name in names if name.lower().endswith(tuple(SUFFIXES)))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self._open(self.names[index])).convert("RGB")
        image = ImageOps.fit(image, (self.image_size, self.image_size), Image.Resampling.BILINEAR)
        if torch.rand(()) < 0.5:
            image = ImageOps.mirror(image)
        array = np.asarray(image, np.float32).transpose(2, 0, 1)
        return torch.from_numpy(array / 127.5 - 1)

    def _open(self, name: str):
        if self.path.is_dir():
            return name
        # Each worker opens the archive for itself: they must not share a position in the file.
        self.archive = self.archive or zipfile.ZipFile(self.path)
        return io.BytesIO(self.archive.read(name))
