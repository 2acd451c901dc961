"""Classes of folders and archives as people have them: lists of labels, roots, other separators."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganjax.data.labels import find_labels, in_order
from ganjax.data.source import open_source
from ganjax.errors import UserError

CASES = Path(__file__).parents[1] / "cases"


def labels_of(path) -> dict[str, str]:
    source = open_source(str(path))
    arrays, broken = source.load(range(len(source)), (4, 4), 3)
    assert not broken
    names = source.fields["label"].names
    return {source.name(n): names[label] for n, label in enumerate(arrays["label"])}


def write_tree(root: Path, files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
        else:
            path.write_text(content)
    return root


def zipped(root: Path, separator: str = "/") -> Path:
    archive = root.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                name = path.relative_to(root).as_posix().replace("/", separator)
                file.writestr(zipfile.ZipInfo(name), path.read_bytes())
    return archive


def test_stylegans_archive_has_the_classes_of_its_list():
    found = labels_of(CASES / "stylegan.zip")
    assert set(found.values()) == {"0", "1", "2"}
    wanted = dict(
        json.loads(zipfile.ZipFile(CASES / "stylegan.zip").read("dataset.json"))["labels"]
    )
    assert found == {name: str(label) for name, label in wanted.items()}


def test_an_archive_of_windows_has_the_classes_below_its_root():
    found = labels_of(CASES / "windows.zip")
    assert set(found.values()) == {"cat", "dog"}
    assert all(name.split("/")[1] == label for name, label in found.items())
    assert not any("MACOSX" in name or ".thumbs" in name for name in found)


@pytest.mark.parametrize("pack", [lambda root: root, zipped, lambda root: zipped(root, "\\")])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,label\r\na.png,cat\r\n./b/c.png,dog\r\n"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": "cat"}\n\n'
         '{"file_name": "b\\\\c.png", "label": "dog"}'),
        ("dataset.json", '{"labels": [["a.png", "cat"], ["b/c.png", "dog"]]}'),
    ],
)  # fmt: skip
def test_a_list_decides_wherever_it_lies(name, text, pack, tmp_path):
    root = write_tree(tmp_path / "x", {"all/a.png": None, "all/b/c.png": None, f"all/{name}": text})
    assert labels_of(pack(root)) == {"all/a.png": "cat", "all/b/c.png": "dog"}


def test_what_has_no_labels_has_no_classes(tmp_path):
    none = {"0/a.png": None, "1/b.png": None, "dataset.json": '{"labels": null}'}
    assert "label" not in open_source(str(write_tree(tmp_path / "none", none))).fields
    texts = {"cat/a.png": None, "dog/b.png": None, "metadata.csv": "file_name,text\na.png,hello\n"}
    found = labels_of(write_tree(tmp_path / "texts", texts))
    assert set(found.values()) == {"cat", "dog"}  # a list of other things


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dataset.json", "{", "dataset.json is no list of labels .*; mend or remove it"),
        ("dataset.json", "[]", "is no list of labels"),
        ("metadata.jsonl", '{"label": 1}', "is no list of labels"),
        ("metadata.csv", "file_name,label\nb.png,1", "has no label of 1 images, a.png first"),
    ],
)
def test_a_list_that_does_not_fit_is_one_line(name, text, message, tmp_path):
    root = write_tree(tmp_path, {"a.png": None, name: text})
    with pytest.raises(UserError, match=message):
        open_source(str(root))


def test_other_labels_are_other_data(tmp_path):
    files = {"a.png": None, "b.png": None, "metadata.csv": "file_name,label\na.png,1\nb.png,2\n"}
    digest = open_source(str(write_tree(tmp_path, files))).digest
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,2\nb.png,1\n")
    assert open_source(str(tmp_path)).digest != digest


def test_classes_come_in_the_order_of_people():
    assert in_order(["10", "9", "100", "9"]) == ("9", "10", "100")
    assert in_order(["b", "10", "9"]) == ("10", "9", "b")
    assert find_labels(["x/y/a/1.png", "x/y/b/2.png"], {}) == ["a", "b"]
    assert find_labels(["x/1.png", "x/2.png"], {}) is None
    assert find_labels(["a/1.png", "2.png"], {}) == ["a", ""]


def test_linked_folders_are_told(tmp_path, capsys):
    write_tree(tmp_path / "other", {"b.png": None})
    root = write_tree(tmp_path / "root", {"a.png": None})
    (root / "linked").symlink_to(tmp_path / "other")
    assert open_source(str(root)).names == ["a.png"]
    assert "1 linked folders are passed over: linked; --follow_links" in capsys.readouterr().err
