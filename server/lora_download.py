"""LoRA adapters of ``--source_loras``: looked up, downloaded, and kept in the model's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from server.download import Progress, shown_size
from server.hub import HubError, HubFile, Listing, fetch, fetch_url, list_repository
from server.lora_sources import FOLDER, SUFFIX, LoraSource

_MAX_BYTES: Final = 8 * 10**9
"""The most that an adapter may have: far more than any has, far less than a disk."""


def fetch_loras(loras: Sequence[LoraSource], folder: Path, *, overwrite: bool = False) -> tuple[LoraSource, ...]:
    """Have all adapters in place: those of URLs and of repositories in ``folder``, as ``LoraSource.path`` says.

    What is there already is not fetched again, nor asked for.

    Args:
        loras: the entries of the flag.
        folder: the model's folder.
        overwrite: fetch what is there as well.

    Returns:
        The entries, with the files of repositories looked up.

    Raises:
        HubError: one cannot be had; the files that are there already are as they were.
        OSError: it cannot be written.
    """
    return tuple(_fetch(lora, folder, overwrite) for lora in loras)


def _fetch(lora: LoraSource, folder: Path, overwrite: bool) -> LoraSource:
    if lora.kind == "HF_REPO":
        return _of_repository(lora, folder, overwrite)
    if lora.kind == "URL":
        target = folder / lora.path
        if overwrite or not target.is_file():
            _download_url(lora.source, target)
    return lora


def _of_repository(lora: LoraSource, folder: Path, overwrite: bool) -> LoraSource:
    here = lora if lora.file is not None else replace(lora, file=_only_file_here(folder / FOLDER / lora.source))
    if here.file is not None and not overwrite and (folder / here.path).is_file():
        return here
    listing = list_repository(lora.source)
    file = _file_in(listing, lora)
    found = replace(lora, file=file.path)
    if overwrite or not (folder / found.path).is_file():
        _download(listing, file, folder / found.path)
    return found


def _only_file_here(place: Path) -> str | None:
    """The file that was looked up before, so that a second start needs no network."""
    files = [path.relative_to(place).as_posix() for path in place.rglob(f"*{SUFFIX}")]
    return files[0] if len(files) == 1 else None


def _file_in(listing: Listing, lora: LoraSource) -> HubFile:
    files = {file.path: file for file in listing.files if file.path.endswith(SUFFIX)}
    shown = ", ".join(sorted(files)) or "none"
    if lora.file is not None:
        if lora.file not in files:
            raise HubError(
                f'the adapter "{lora.alias}": {lora.source} has no {lora.file}; {SUFFIX} files in it: {shown}'
            )
        return files[lora.file]
    if not files:
        raise HubError(f'the adapter "{lora.alias}": {lora.source} has no {SUFFIX} file')
    if len(files) != 1:
        raise HubError(
            f'the adapter "{lora.alias}": {lora.source} has {len(files)} {SUFFIX} files, so that it has to be said which: '
            f"{lora.alias}={lora.source}@FILE; files: {shown}"
        )
    return next(iter(files.values()))


def _download(listing: Listing, file: HubFile, target: Path) -> None:
    if file.size_bytes > _MAX_BYTES:
        raise HubError(
            f"{file.path} of {listing.repository} has {shown_size(file.size_bytes)}, more than any adapter; it is not fetched"
        )
    part = _part(target)
    with Progress(file.path, file.size_bytes, part.stat().st_size if part.exists() else 0) as progress:
        fetch(listing, file, part, progress.arrived)
        if not file.is_at(part):
            part.unlink()
            raise HubError(
                f"{file.path} of {listing.repository} arrived with a wrong checksum, and was thrown away; try again"
            )
        part.replace(target)
        progress.finished(file.path, file.size_bytes)


def _download_url(url: str, target: Path) -> None:
    part = _part(target)
    part.unlink(missing_ok=True)  # nobody says whether it is of the same file
    with Progress(target.name, None, 0) as progress:
        try:
            fetch_url(url, part, progress.arrived, _MAX_BYTES)
            _check(part, url)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        progress.finished(target.name, part.stat().st_size)
        part.replace(target)


def _check(part: Path, url: str) -> None:
    """Web servers answer much with a page and status 200."""
    from calculators.image_gen.lora_file import read_lora_layers

    try:
        read_lora_layers(part)
    except (OSError, ValueError) as error:
        raise HubError(f"what {url} sends is no LoRA adapter: {error}") from None


def _part(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}.tmp")  # hidden: no server takes it for a change
