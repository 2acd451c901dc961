"""Downloads published weights: resumed where they were cut off, and trusted by their digest."""

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ganjax import __version__
from ganjax.errors import UserError, one_line
from ganjax.progress import bar
from ganjax.weights import packages
from ganjax.weights.sources import Source

MAX_BYTES = 2 * 2**30  # where a source's size is unknown
_CHUNK = 64 * 2**10
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that another attempt may not meet


def fetch(
    source: Source,
    folder: str | Path,
    *,
    sha256: str = "",
    unverified: bool = False,
    attempts: int = 6,
    pause: float = 1.0,
    timeout: float = 30.0,
    open_url: Callable[..., Any] | None = None,
) -> Path:
    """Downloads a source, unless it is there already.

    What arrived before a cut connection, or a kill, is kept as `<file>.part` and continued by
    HTTP ranges as long as the server still has the same file. A file without a published digest
    is kept as `<file>.unverified` until the user vouches for it. A package is downloaded by pip.

    Args:
      folder: made if missing. The file is named after the source, with the suffix of its URL; a
        package has its own name.
      sha256: 64 hex digits that the file must have, besides the digest of the source.
      unverified: take a source without any digest on trust.
      attempts: to connect without getting any further, between which the pauses double.
      pause: seconds before the second attempt.
      timeout: seconds without a byte after which a connection counts as cut.
      open_url: opens a `urllib.request.Request` with a `timeout`; by default with the proxies of
        the environment.

    Returns:
      The file's path.

    Raises:
      UserError: the file cannot be had, written or verified.
    """
    url = urlsplit(source.url)
    if url.scheme not in ("http", "https"):
        raise UserError(f"{source.url}: only http and https are fetched")
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UserError(f"--sha256 {sha256}: give 64 hex digits")
    own = f"{source.name}{PurePosixPath(url.path).suffix}"
    path = Path(folder) / (packages.file_name(source) or own)
    held, part, tag = (
        path.with_name(f"{path.name}.{end}") for end in ("unverified", "part", "part.tag")
    )
    digests = (("sha256", source.sha256), ("md5", source.md5), ("sha256", sha256))
    wanted = [(algorithm, digits.lower()) for algorithm, digits in digests if digits]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for present in (path, held):
            if present.exists():
                _verify(present, source, wanted, unverified)
                os.replace(present, path)
                return path
        if source.package:
            packages.download(source, part)
        else:
            _download(source, part, tag, attempts, pause, timeout, open_url or _opener().open)
        wrong = _difference(part, wanted)
        tag.unlink(missing_ok=True)
        if wrong:
            part.unlink()
            raise UserError(f"{source.url} has {wrong}; it is another file, and was deleted")
        if not wanted and not unverified:
            os.replace(part, held)
            _verify(held, source, wanted, unverified)
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _verify(path: Path, source: Source, wanted: list[tuple[str, str]], unverified: bool) -> None:
    if wrong := _difference(path, wanted):
        raise UserError(f"{path} has {wrong}; remove it and run the command again")
    if not wanted and not unverified:
        found = _digest(path, "sha256")
        raise UserError(
            f"{path} is unverified: nobody published a digest of {source.name}; its sha256 is "
            f"{found}; compare that with a copy you trust, then repeat the command with "
            f"--sha256 {found}, or with --unverified"
        )


def _difference(path: Path, wanted: list[tuple[str, str]]) -> str:
    for algorithm, digits in wanted:
        found = _digest(path, algorithm)
        if not found.startswith(digits):
            return f"{algorithm} {found} instead of {digits}"
    return ""


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


class _Cut(Exception):
    """Another attempt may help."""


def _download(
    source: Source,
    part: Path,
    tag: Path,
    attempts: int,
    pause: float,
    timeout: float,
    open_url: Callable[..., Any],
) -> None:
    """Completes the file `part`; `tag` holds what the server calls the version it is part of."""
    with bar(source.size or None, label=source.name, unit="B") as counter:
        failures, furthest = 0, 0
        while True:
            try:
                return _go_on(source, part, tag, timeout, open_url, counter)
            except _Cut as error:
                problem = one_line(error)
            reached = part.stat().st_size if part.exists() else 0
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= attempts:
                raise UserError(
                    f"downloading {source.url} failed: {problem}; run the command again, "
                    "which goes on where it stopped"
                )
            counter.set_postfix_str(f"{problem:.60}; trying again")
            time.sleep(pause * 2 ** (failures - 1))
            counter.set_postfix_str("")


def _go_on(
    source: Source,
    part: Path,
    tag: Path,
    timeout: float,
    open_url: Callable[..., Any],
    counter: Any,
) -> None:
    """One connection, which continues `part` if it can and else begins anew."""
    start = part.stat().st_size if part.exists() else 0
    if source.size and start == source.size:
        return  # it was complete when the process was killed
    version = tag.read_text() if tag.exists() else ""
    headers = {"User-Agent": f"ganjax/{__version__}", "Accept-Encoding": "identity"}
    if start and version:
        headers |= {"Range": f"bytes={start}-", "If-Range": version}
    with _open(source, part, headers, timeout, open_url) as response:
        begin, total = _extent(source, response)
        if begin not in (0, start):
            part.unlink(missing_ok=True)
            raise _Cut("the server sent another part than the one asked for")
        limit = source.size or MAX_BYTES
        if total is not None and (total > limit or source.size and total != limit):
            raise UserError(f"{source.url} has {total:,} bytes; expected {_expected(source)}")
        with part.open("ab" if begin else "wb") as file:
            tag.write_text(_version(response))
            received = counter.n = begin
            while chunk := _read(response):
                received += len(chunk)
                if received > limit:
                    part.unlink()
                    raise UserError(f"{source.url} has more bytes than {_expected(source)}")
                file.write(chunk)
                counter.update(len(chunk))
    if received < (source.size or total or 0):
        raise _Cut(f"the connection was cut after {received:,} bytes")


def _expected(source: Source) -> str:
    return f"{source.size:,}" if source.size else f"at most {MAX_BYTES:,}"


def _open(
    source: Source, part: Path, headers: dict[str, str], timeout: float, open_url: Any
) -> Any:
    try:
        request = urllib.request.Request(source.url, headers=headers)
        response = open_url(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the rest does not exist: what is here is of another file
            part.unlink(missing_ok=True)
        if error.code == 416 or error.code in _PASSING:
            raise _Cut(f"the server answers {error.code} {error.reason}") from error
        raise UserError(f"{source.url}: the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(f"{source.url}: {error.reason}") from error
        raise _Cut(error.reason) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__) from error
    if source.url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise UserError(f"{source.url} leads to {response.url}, which is not encrypted")
    return response


def _extent(source: Source, response: Any) -> tuple[int, int | None]:
    """Where in the file the response begins, and the file's size if the server tells."""
    if response.status == 206:
        match = re.fullmatch(
            r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", "")
        )
        if not match:
            raise UserError(f"{source.url}: the server sends a part without saying which")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    if response.status != 200:
        raise UserError(f"{source.url}: the server answers {response.status}")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _version(response: Any) -> str:
    """What If-Range accepts: a strong ETag or a date."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _read(response: Any) -> bytes:
    try:
        return response.read1(_CHUNK)  # what has arrived; `read` would lose it with the connection
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__) from error


def _opener() -> urllib.request.OpenerDirector:
    """urllib's own, less the handlers of file:, ftp: and data: URLs, to which others may lead."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
