"""TFDS: prepared data sets are read without TensorFlow; preparing them needs it."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganjax.commands import prepare
from ganjax.data.fields import Field
from ganjax.data.source import open_source
from ganjax.errors import UserError

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="TensorFlow is not installed: pip install 'ganjax[prepare]'",
)


def encode(pixels: np.ndarray, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, form, quality=95)
    return content.getvalue()


def flat(value: int) -> bytes:
    return encode(np.full((10, 12, 3), value, np.uint8))


def feature(name: str, **fields) -> dict:
    return {"pythonClassName": f"tensorflow_datasets.core.features.{name}"} | fields


def image_feature() -> dict:
    return feature(
        "image_feature.Image", image={"shape": {"dimensions": ["-1", "-1", "3"]}, "dtype": "uint8"}
    )


def write_dataset(
    data_dir: Path,
    name: str,
    features: dict,
    splits: dict[str, list[dict]],
    version: str = "1.0.0",
) -> Path:
    """Writes what TFDS would have prepared, without TensorFlow.

    Args:
      splits: examples by split; a value is bytes, or an integer.
    """
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = data_dir / name / version
    folder.mkdir(parents=True)
    records = []
    for split, examples in splits.items():
        path = folder / f"{name}-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for values in examples:
            example = tf_example_pb2.Example()
            for key, value in values.items():
                if isinstance(value, bytes):
                    example.features.feature[key].bytes_list.value.append(value)
                else:
                    example.features.feature[key].int64_list.value.append(value)
            writer.write(example.SerializeToString())
        writer.close()
        size = str(path.stat().st_size)
        records.append({"name": split, "shardLengths": [str(len(examples))], "numBytes": size})
    information = {
        "name": name, "version": version, "fileFormat": "array_record", "splits": records,
        "description": "", "citation": "",
    }  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps(information))
    content = feature("features_dict.FeaturesDict", featuresDict={"features": features})
    (folder / "features.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty folder of prepared data sets."""
    folder = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder


LABEL = feature("class_label_feature.ClassLabel", classLabel={"numClasses": "3"})
BOOL = feature("scalar.Scalar", tensor={"shape": {}, "dtype": "bool", "encoding": "none"})


@pytest.fixture
def tiny(data_dir):
    examples = [{"image": flat(10 * k), "label": k % 3} for k in range(7)]
    features = {"image": image_feature(), "label": LABEL}
    return write_dataset(
        data_dir, "tiny", features, {"train": examples[:5], "validation": examples[5:]}
    )


def test_images_and_labels(tiny):
    source = open_source("tfds:tiny")
    assert len(source) == 5 and source.fields["label"] == Field("class", names=("0", "1", "2"))
    arrays, broken = source.load([4, 0, 2], (6, 6), 3)
    np.testing.assert_array_equal(arrays["image"][:, 3, 3, 0], [40, 0, 20])
    np.testing.assert_array_equal(arrays["label"], [1, 0, 2])
    assert arrays["image"].shape == (3, 6, 6, 3) and arrays["label"].dtype == np.int32
    assert not broken


def test_splits(tiny):
    assert len(open_source("tfds:tiny:validation")) == 2
    assert len(open_source("tfds:tiny", split="validation")) == 2
    assert len(open_source("tfds:tiny:train[:60%]", split="validation")) == 3
    arrays, _ = open_source("tfds:tiny:train[3:]").load(range(2), (4, 4), 1)
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], [30, 40])
    with pytest.raises(UserError, match="no split 'test'; there is train, validation"):
        open_source("tfds:tiny:test")
    specs = ("tfds:tiny", "tfds:tiny:validation", "tfds:tiny:train[:60%]")
    assert len({open_source(spec).digest for spec in specs}) == 3


def test_broken_images_are_named(data_dir):
    examples = [{"image": image, "label": k} for k, image in enumerate((flat(1), b"x", flat(3)))]
    features = {"image": image_feature(), "label": LABEL}
    write_dataset(data_dir, "tiny", features, {"train": examples})
    arrays, broken = open_source("tfds:tiny").load(range(3), (4, 4), 3)
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], [1, 3])
    np.testing.assert_array_equal(arrays["label"], [0, 2])
    assert [name for name, _ in broken] == ["example 1"]


def test_without_labels(data_dir):
    write_dataset(data_dir, "tiny", {"image": image_feature()}, {"train": [{"image": flat(1)}]})
    source = open_source("tfds:tiny")
    assert set(source.fields) == {"image"} == set(source.load([0], (4, 4), 3)[0])


def test_binary_attributes_are_labels(data_dir):
    attributes = feature(
        "features_dict.FeaturesDict", featuresDict={"features": {"Smiling": BOOL, "Bald": BOOL}}
    )
    examples = [
        {"photo": flat(k), "attributes/Smiling": k % 2, "attributes/Bald": k // 2} for k in range(4)
    ]
    features = {"photo": image_feature(), "attributes": attributes}
    write_dataset(data_dir, "tiny", features, {"train": examples})
    source = open_source("tfds:tiny")
    assert source.fields["label"].kind == "attributes"
    assert source.fields["label"].names == ("Bald", "Smiling")
    arrays, _ = source.load([3, 1, 2], (4, 4), 3)
    np.testing.assert_array_equal(arrays["label"], [[1, 1], [0, 1], [1, 0]])


def test_without_images(data_dir):
    write_dataset(data_dir, "tiny", {"label": LABEL}, {"train": [{"label": 1}]})
    with pytest.raises(UserError, match="tfds:tiny has no images, only label"):
        open_source("tfds:tiny")
    with pytest.raises(UserError, match="has no images"):
        open_source("tfds:imdb_reviews")


def test_damaged_files(tiny):
    (path,) = tiny.glob("*-train*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="is damaged .*; delete .* and prepare it again"):
        open_source("tfds:tiny").load(range(5), (4, 4), 3)


def test_what_is_not_prepared_names_the_command(data_dir):
    with pytest.raises(UserError) as error:
        open_source("tfds:celeb_a")
    message = str(error.value)
    assert "ganjax prepare tfds:celeb_a" in message and "\n" not in message
    assert "Google Drive" in message and "--manual_dir" in message
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    assert ("pip install 'ganjax[prepare]'" in message) != has_tensorflow


def test_unknown_names(data_dir):
    with pytest.raises(UserError, match="no data set 'celeba'; did you mean celeb_a"):
        open_source("tfds:celeba")
    with pytest.raises(UserError, match="tfds:mnist/large cannot be opened: BuilderConfig large"):
        open_source("tfds:mnist/large")


def test_a_format_that_only_tensorflow_reads(tiny):
    path = tiny / "dataset_info.json"
    path.write_text(path.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="only TensorFlow reads.*--data_dir DIR"):
        open_source("tfds:tiny")


def test_training_imports_no_tensorflow(tiny):
    code = (
        "import sys; from ganjax.data.source import open_source; "
        "open_source('tfds:tiny').load([0], (4, 4), 3); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=60)


def test_help_is_quick_and_teaches():
    code = (
        "import sys; from ganjax.commands.prepare import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'tensorflow_datasets', 'grain', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    for words in (b"tfds:celeb_a --manual_dir", b"Google Drive", b"ganjax[prepare]"):
        assert words in run.stdout


def test_prepare_refuses_what_makes_no_sense(data_dir, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="needs no preparation; --image_size=64"):
        prepare.main([f"folder:{tmp_path}"])
    with pytest.raises(UserError, match="for tfds:NAME only"):
        prepare.main([f"folder:{tmp_path}", "--manual_dir", "x"])
    with pytest.raises(UserError, match="give avatars.*, folder:PATH"):
        prepare.main(["celeba"])
    with pytest.raises(UserError, match="--manual_dir .* is no folder"):
        prepare.main(["tfds:celeb_a", "--manual_dir", str(tmp_path / "absent")])


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed"
)
def test_prepare_without_tensorflow(data_dir):
    with pytest.raises(UserError, match=r"needs TensorFlow, once: pip install 'ganjax\[prepare\]'"):
        prepare.main(["tfds:celeb_a"])


def test_prepare_decodes(tiny, tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    cache = str(tmp_path / "cache")
    for source, count in ((f"folder:{tmp_path}", 1), ("tfds:tiny", 5)):
        prepare.main([source, "--image_size=8x6", "--cache_dir", cache])
        assert f"{count} images are decoded in {cache}" in capsys.readouterr().err


def run_prepare(*arguments: str, before: str = "") -> subprocess.CompletedProcess:
    """Runs the command in a process of its own, as TensorFlow is not to be imported here."""
    code = "import sys; from ganjax import commands; commands.run('prepare', sys.argv[1:])"
    code = f"{before}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300
    )


@needs_tensorflow
def test_fashion_mnist(test_data, tmp_path, monkeypatch):
    data_dir = str(tmp_path / "tfds")
    manual_dir = str(test_data / "fashion_mnist")
    run = run_prepare(
        "tfds:fashion_mnist", "--data_dir", data_dir, "--manual_dir", manual_dir,
        "--image_size=28", "--channels=1", "--cache_dir", str(tmp_path / "cache"),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "train 60,000, test 10,000 examples" in run.stderr
    assert f"train with TFDS_DATA_DIR={data_dir}" in run.stderr
    assert "60,000 images are decoded" in run.stderr
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    source = open_source("tfds:fashion_mnist:test")
    assert source.fields["label"].names[9] == "Ankle boot"
    arrays, _ = source.load(range(1000), (28, 28), 1)
    assert np.bincount(arrays["label"]).min() > 70
    # The original file holds the same thousand pictures among its ten thousand.
    import gzip

    with gzip.open(test_data / "fashion_mnist" / "t10k-images-idx3-ubyte.gz") as file:
        original = {file.read(16)[:0], *(file.read(784) for _ in range(10_000))}
    assert all(image.tobytes() in original for image in arrays["image"])
    again = run_prepare("tfds:fashion_mnist", "--data_dir", data_dir)
    assert again.returncode == 0 and "Generating" not in again.stderr


CELEBA_FILES = (
    "img_align_celeba.zip", "list_eval_partition.txt", "list_attr_celeba.txt",
    "list_landmarks_align_celeba.txt", "identity_CelebA.txt",
)  # fmt: skip
# Makes the stand-in's checksums the registered ones, and every download end as Google's quota does.
STAND_IN = """
import dataclasses, hashlib, pathlib, sys
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader
folder = pathlib.Path({folder!r})
infos = tfds.builder("celeb_a").url_infos
for url, info in infos.items():
    content = (folder / info.filename).read_bytes()
    infos[url] = dataclasses.replace(
        info, size=tfds.core.utils.Size(len(content)), checksum=hashlib.sha256(content).hexdigest())
def refuse(self, url, *arguments, **options):
    raise tfds.download.DownloadError(f"Failed to get url {{url}}. HTTP code: 429.")
downloader._Downloader.download = refuse
"""


@pytest.fixture
def celeba(tmp_path):
    """Twelve faces in the five files of CelebA: nine to train, one to validate, two to test."""
    import tensorflow_datasets as tfds

    features = tfds.builder("celeb_a").info.features
    names = [f"{k + 1:06d}.jpg" for k in range(12)]
    folder = tmp_path / "celeba"
    folder.mkdir()
    with zipfile.ZipFile(folder / CELEBA_FILES[0], "w") as archive:
        for k, name in enumerate(names):
            pixels = np.full((218, 178, 3), 20 * k, np.uint8)
            archive.writestr(f"img_align_celeba/{name}", encode(pixels, "JPEG"))
    keys = {key: list(features[key]) for key in ("attributes", "landmarks", "identity")}
    partition = "".join(f"{name} {(k > 8) + (k > 9)}\n" for k, name in enumerate(names))
    attributes = f"12\n{' '.join(keys['attributes'])}\n" + "".join(
        f"{name} {' '.join('1' if (k + j) % 3 == 0 else '-1' for j in range(40))}\n"
        for k, name in enumerate(names)
    )
    landmarks = f"12\n{' '.join(keys['landmarks'])}\n" + "".join(
        f"{name} {' '.join(str(k + j) for j in range(10))}\n" for k, name in enumerate(names)
    )
    identity = "".join(f"{name} {k}\n" for k, name in enumerate(names))
    for name, text in zip(
        CELEBA_FILES[1:], (partition, attributes, landmarks, identity), strict=True
    ):
        (folder / name).write_text(text)
    return folder


@needs_tensorflow
def test_celeba_from_files_fetched_by_hand(celeba, data_dir):
    run = run_prepare(
        "tfds:celeb_a", "--manual_dir", str(celeba), before=STAND_IN.format(folder=str(celeba))
    )
    assert run.returncode == 0, run.stderr
    source = open_source("tfds:celeb_a")
    assert len(source) == 9 and len(open_source("tfds:celeb_a", split="test")) == 2
    names = source.fields["label"].names
    assert len(names) == 40 and "Smiling" in names
    arrays, broken = source.load(range(9), (64, 64), 3)
    shown = arrays["image"][:, 32, 32, 0].astype(int)
    faces = np.round(shown / 20).astype(int)
    assert np.abs(shown - 20 * faces).max() <= 2 and not broken
    assert sorted(faces) == list(range(9))
    order = [names.index(name) for name in ("5_o_Clock_Shadow", "Young")]
    # The files list the attributes in the order of TFDS's features.
    import tensorflow_datasets as tfds

    names = list(tfds.builder("celeb_a").info.features["attributes"])
    for column, name in zip(order, ("5_o_Clock_Shadow", "Young"), strict=True):
        expected = (faces + names.index(name)) % 3 == 0
        np.testing.assert_array_equal(arrays["label"][:, column], expected)


@needs_tensorflow
@pytest.mark.parametrize("present", [0, 4])
def test_an_exhausted_quota_says_what_to_fetch(celeba, data_dir, tmp_path, present):
    manual_dir = tmp_path / "manual"
    manual_dir.mkdir()
    for name in CELEBA_FILES[:present]:
        (manual_dir / name).write_bytes((celeba / name).read_bytes())
    arguments = ["--manual_dir", str(manual_dir)] if present else []
    run = run_prepare("tfds:celeb_a", *arguments, before=STAND_IN.format(folder=str(celeba)))
    assert run.returncode == 2
    line = run.stderr.splitlines()[-1]
    assert line.startswith("error: a download for tfds:celeb_a failed:") and "429" in line
    assert "Google Drive's quota" in line
    assert "ganjax prepare tfds:celeb_a --manual_dir DIR" in line
    by_hand = line.split("download ")[-1]
    assert [name in by_hand for name in CELEBA_FILES] == [False] * present + [True] * (5 - present)


@needs_tensorflow
def test_a_wrong_file_in_the_manual_folder(celeba, data_dir, tmp_path):
    before = STAND_IN.format(folder=str(celeba))
    manual_dir = tmp_path / "manual"
    manual_dir.mkdir()
    for name in CELEBA_FILES:
        (manual_dir / name).write_bytes((celeba / name).read_bytes())
    (manual_dir / CELEBA_FILES[1]).write_text("<html>Quota exceeded</html>")
    run = run_prepare("tfds:celeb_a", "--manual_dir", str(manual_dir), before=before)
    assert run.returncode == 2
    line = run.stderr.splitlines()[-1]
    assert line.startswith("error: a download for tfds:celeb_a failed:"), line
    assert CELEBA_FILES[1] in line and line.endswith(f"fetch that file into {manual_dir} again")
