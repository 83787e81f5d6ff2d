"""Plain files in a folder or under an S3 prefix, read and written without LanceDB."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from crewmem_store.fsync import write_durably
from crewmem_store.lance_errors import answering


@dataclass(frozen=True, slots=True)
class File:
    """`name` is relative to the folder; `size` in bytes, `modified` in epoch seconds."""

    name: str
    size: int
    modified: float


class Files:
    """The files under one folder or `s3://bucket/prefix`. Every method raises StoreUnavailable when it does not answer."""

    def __init__(
        self, uri: str, *, storage_options: Mapping[str, str] | None = None, what: str = "the store"
    ) -> None:  # fmt: skip
        """`storage_options` as LanceDB takes them; `what` the errors call it. Nothing is opened before the first use."""
        self._what = what
        self._uri = uri
        self._options = dict(storage_options or {})
        self._opened: tuple[fs.FileSystem, str] | None = None

    def listing(self, folder: str = "") -> list[File]:
        """Every file below `folder`, by name; none where there is no such folder."""
        with self._answering("listing", folder):
            system, root = self._open()
            found = system.get_file_info(fs.FileSelector(f"{root}/{folder}".rstrip("/"), allow_not_found=True, recursive=True))
            files = [one for one in found if one.type is fs.FileType.File]
            return sorted(
                (File(one.path.removeprefix(f"{root}/"), one.size, (one.mtime_ns or 0) / 1e9) for one in files),
                key=lambda file: file.name,
            )

    def read(self, name: str) -> bytes:
        """All of the file, which must be there."""
        with self._answering("reading", name):
            system, root = self._open()
            with system.open_input_stream(f"{root}/{name}") as stream:
                return bytes(stream.read())

    def has(self, name: str) -> bool:
        """Whether there is a file of that name; nothing is listed."""
        with self._answering("looking for", name):
            system, root = self._open()
            return bool(system.get_file_info(f"{root}/{name}").type is fs.FileType.File)

    def write(self, name: str, data: bytes) -> None:
        """All of it or nothing: on a disk it is there, durably, once it has its name; S3 does so by itself."""
        with self._answering("writing", name):
            system, root = self._open()
            if isinstance(system, fs.LocalFileSystem):
                path = Path(f"{root}/{name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                write_durably(path, data)
                return
            with system.open_output_stream(f"{root}/{name}") as stream:
                stream.write(data)

    def delete(self, name: str) -> None:
        """Harmless when it is gone already."""
        with self._answering("removing", name):
            system, root = self._open()
            if system.get_file_info(f"{root}/{name}").type is fs.FileType.File:
                system.delete_file(f"{root}/{name}")

    def _answering(self, doing: str, name: str) -> AbstractContextManager[None]:
        return answering(f"{doing} {self._uri}/{name}", what=self._what)

    def _open(self) -> tuple[fs.FileSystem, str]:
        if self._opened is None:
            if self._uri.startswith("s3://"):
                self._opened = _s3(self._options), self._uri.removeprefix("s3://").strip("/")
            else:
                self._opened = fs.LocalFileSystem(), Path(self._uri).expanduser().absolute().as_posix()
        return self._opened


def _s3(options: Mapping[str, str]) -> fs.FileSystem:
    scheme, _, address = options.get("endpoint", "").rpartition("://")
    given = {
        "region": options.get("region"), "endpoint_override": address or None, "scheme": scheme or None,
        "access_key": options.get("aws_access_key_id"), "secret_key": options.get("aws_secret_access_key"),
    }  # fmt: skip
    return fs.S3FileSystem(**{name: value for name, value in given.items() if value})
