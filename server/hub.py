"""The Hugging Face hub: what a repository holds, and its files. huggingface_hub speaks to it, and is imported when it is needed.

Its environment counts: HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME, and the proxies.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

_TIMEOUT_S: Final = 20.0
_CHUNK_BYTES: Final = 1 << 20
REPOSITORY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
"""``org/name``."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
_DIGEST: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class HubError(Exception):
    """Something cannot be had; the text says what, why, and what to do. It is fit for logs: secrets are left out of it."""

    def __init__(self, text: str) -> None:
        super().__init__(_without_secrets(text))


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository.

    Attributes:
        path: where it is in the repository, with ``/``.
        size_bytes: how long it is.
        digest: 64 hexadecimal digits, the SHA-256 of a file that Git LFS keeps; or 40, Git's own name of the content.
    """

    path: str
    size_bytes: int
    digest: str

    def is_at(self, path: Path) -> bool:
        """Whether a file on the disk has this content.

        Raises:
            OSError: it cannot be read.
        """
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        # Source: Git, the format of a blob: its name is the SHA-1 of a header and the content.
        found = (
            hashlib.sha256()
            if len(self.digest) == 64
            else hashlib.sha1(b"blob %d\0" % self.size_bytes, usedforsecurity=False)
        )
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
        return found.hexdigest() == self.digest


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit.

    Attributes:
        repository: ``org/name``.
        commit: the commit, 40 hexadecimal digits.
        files: all that is in it.
    """

    repository: str
    commit: str
    files: tuple[HubFile, ...]


def endpoint() -> str:
    """The address of the hub."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def list_repository(repository: str, revision: str | None = None) -> Listing:
    """What a repository holds.

    Args:
        repository: ``org/name``.
        revision: a branch, a tag or a commit; the main branch if None.

    Raises:
        HubError: it cannot be had.
    """
    from huggingface_hub import HfApi

    _check_token()
    try:
        with explained(repository, revision):
            info = HfApi(endpoint=endpoint()).model_info(
                repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S
            )
    except (HubError, OSError):
        raise
    except Exception as error:  # what another server answers, or the environment says, can break the library anywhere
        raise HubError(
            f"{endpoint()} cannot be asked as a Hugging Face hub ({type(error).__name__}: {error}); look at HF_ENDPOINT, HF_TOKEN "
            "and the proxies (HTTPS_PROXY, HTTP_PROXY)"
        ) from error
    if not _is(_COMMIT, info.sha):
        raise HubError(f"{endpoint()} tells no commit of {repository}; is it a Hugging Face hub?")
    return Listing(repository, str(info.sha), tuple(_file(repository, each) for each in info.siblings or ()))


def _file(repository: str, told: Any) -> HubFile:
    """A file of a listing. Its path and its digest become names on the disk, so that nothing of them is believed."""
    name = told.rfilename
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or "\\" in str(name):
        raise HubError(
            f"{repository} has a file with the name {name!r}, which leads out of its folder; nothing is fetched"
        )
    if not isinstance(name, str) or not path.parts or _UNPRINTABLE.search(name):
        raise HubError(
            f"{repository} has a file with the name {name!r}, which cannot be a file's here; nothing is fetched"
        )
    digest = told.lfs.sha256 if told.lfs is not None else told.blob_id
    if type(told.size) is not int or told.size < 0 or not _is(_DIGEST, digest):
        raise HubError(
            f"{endpoint()} tells no size or no checksum of {name} in {repository}; is it a Hugging Face hub?"
        )
    return HubFile(str(path), told.size, digest)


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def fetch(listing: Listing, file: HubFile, target: Path, tell: Callable[[int], None]) -> None:
    """Append to ``target`` what it lacks of a file; what it has is kept if the connection breaks.

    Args:
        listing: the repository.
        file: one of its files.
        target: where its bytes go; need not be there, its folder does.
        tell: called with the number of bytes that arrived, whenever some have; what it raises ends the download.

    Raises:
        HubError: it cannot be had.
        OSError: it cannot be written.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(listing.repository, file.path, revision=listing.commit, endpoint=endpoint())
    with explained(listing.repository, listing.commit):
        _get(url, _headers(), target, tell, file.size_bytes)


def fetch_url(url: str, target: Path, tell: Callable[[int], None], max_bytes: int) -> None:
    """Download what is at an address, without any token; HTTP and HTTPS alone.

    Args:
        url, target, tell: as for ``fetch``.
        max_bytes: what is longer is refused.

    Raises:
        HubError: it cannot be had, or is too long.
        OSError: it cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise HubError(f"{url} is neither http:// nor https://")
    with explained(url, None):
        _get(url, {"accept-encoding": "identity"}, target, tell, None, max_bytes)


def _headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented, and not in __all__

    # Bytes are counted, and asked for from the middle on: a compressed answer would have others.
    return {**build_hf_headers(library_name="graph-runtime"), "accept-encoding": "identity"}


def _get(
    url: str,
    headers: dict[str, str],
    target: Path,
    tell: Callable[[int], None],
    size_bytes: int | None,
    max_bytes: int | None = None,
) -> None:
    # Why not hf_hub_download: it throws away what it has when it is interrupted, and compares sizes alone.
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get

    most = size_bytes if max_bytes is None else max_bytes
    # http_get takes no file that is longer: the hub's own network has another way for it, other hubs may have none.
    is_told = size_bytes is not None and size_bytes <= constants.MAX_HTTP_DOWNLOAD_SIZE

    def arrived(size: int) -> None:
        if most is not None and out.tell() + size > most:  # called before they are written
            raise HubError(f"{url} is longer than {most} bytes, the most that it may have; it is not fetched")
        tell(size)

    def meter(**_: Any) -> _Meter:
        return _Meter(arrived)

    try:
        with target.open("ab") as out:
            if size_bytes is not None and out.tell() > size_bytes:
                out.truncate(0)
            if out.tell() != size_bytes:
                bar: Any = meter  # http_get asks for a subclass of tqdm, and uses no more of it than _Meter has
                http_get(
                    url,
                    out,
                    resume_size=out.tell(),
                    headers=headers,
                    expected_size=size_bytes if is_told else None,
                    displayed_filename=url,
                    tqdm_class=bar,
                )
            out.flush()
            os.fsync(out.fileno())
    finally:
        if size_bytes != 0 and target.exists() and not target.stat().st_size:
            target.unlink()  # nothing came: no trace of it is of use


class _Meter:
    """What http_get takes for a progress bar."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Nothing to close."""

    def update(self, size: int) -> None:
        """So many bytes have arrived; fewer than none if a server sends all of it anew."""
        self._tell(size)


@contextlib.contextmanager
def explained(wanted: str, revision: str | None) -> Iterator[None]:
    """Errors of the hub, of the network and of the disk, in words for the person at the terminal.

    Args:
        wanted: the repository, or the URL.
        revision: of the repository.

    Raises:
        HubError: what is raised inside, if it is one of these.
    """
    from huggingface_hub import errors

    # The HTTP library's: which one that is depends on the release of huggingface_hub.
    http_error: Any = errors.HTTPError  # type: ignore[attr-defined] # the base of HfHubHTTPError
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise HubError(
            f"{wanted} is not here, and HF_HUB_OFFLINE forbids to fetch it; unset it, or copy the model's folder here"
        ) from None
    except errors.HFValidationError:
        raise HubError(f'"{wanted}" is no repository: give org/name, such as OpenVINO/FLUX.1-schnell-int4-ov') from None
    except errors.GatedRepoError:
        raise HubError(
            f"{wanted} is gated: its owners let in who has accepted their terms. Accept them at {endpoint()}/{wanted}, and "
            f"set HF_TOKEN to a token of that account ({_token_state()})"
        ) from None
    except errors.RevisionNotFoundError:
        raise HubError(f"{wanted} has no revision {revision!r}; give a branch, a tag or a commit of it") from None
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"there is no repository {wanted} at {endpoint()}, or it is private: then HF_TOKEN has to be a token that may read it "
            f"({_token_state()})"
        ) from None
    except errors.HfHubHTTPError as error:
        raise HubError(_refusal(wanted, error.response.status_code, error.server_message)) from None
    except http_error as error:  # of the HTTP library: no answer, or one that broke off
        reason = str(error).rstrip(".") or type(error).__name__
        kept = "Run" if wanted.startswith("http") else "What has arrived is kept; run"
        raise HubError(f"the connection for {wanted} failed: {reason}. {kept} the same command again") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise HubError(
                f"the disk is full ({error.filename or wanted}). What has arrived is kept; make room and run the same command again"
            ) from None
        if error.errno is None and "Consistency check failed" in str(error):  # http_get's
            raise HubError(
                f"{wanted}: the hub sent another number of bytes than it had told; run the same command again"
            ) from None
        raise


def _refusal(wanted: str, status: int, message: str | None) -> str:
    # It is another's text: on one line, and without what moves a cursor.
    said = f": {_UNPRINTABLE.sub('?', ' '.join(message.split()))}" if message else ""
    match 0 if wanted.startswith("http") else status:  # other servers get no token
        case 401:
            return (
                f"{endpoint()} does not know the token for {wanted}{said}. Set HF_TOKEN to a valid one, or unset it "
                f"({_token_state()})"
            )
        case 403:
            return f"the token may not read {wanted}{said}. Give HF_TOKEN the right to read it ({_token_state()})"
        case 429:
            return f"{wanted}: too many requests from here{said}; wait, and run the same command again"
    return f"{wanted} cannot be fetched: HTTP status {status}{said}"


def _check_token() -> None:
    from huggingface_hub import get_token

    token = get_token()
    if token is not None and not re.fullmatch(r"[!-~]+", token):  # no header takes it, and who refuses it repeats it
        raise HubError(
            f"the token has characters that no token has; look at what it was copied with ({_token_state()})"
        )


def _without_secrets(text: str) -> str:
    """A text without tokens, passwords and the queries of addresses, which may sign a download."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = os.environ.get(name, "").strip()
        if len(token) >= 8:  # a shorter one is none, and may be part of any word
            text = text.replace(token, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{20,}", "***", text)  # of a login
    text = re.sub(r"(https?://)[^/\s@]+@", r"\1***@", text)
    return re.sub(r"(https?://[^\s?]*\?)[^\s;,)]+", r"\1***", text)


def _token_state() -> str:
    from huggingface_hub import get_token

    if os.environ.get("HF_TOKEN"):
        return "HF_TOKEN is set"
    return "HF_TOKEN is not set; the token of a login is used" if get_token() else "HF_TOKEN is not set"
