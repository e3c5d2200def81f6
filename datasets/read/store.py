"""Where the bytes of a dataset come from: a local folder, or any URL that fsspec knows (http, s3, gs, memory, ...).

Keys are paths within the dataset, joined with slashes. Stores hold no open file and no lock, so that they can be
forked and pickled, and may be used by several threads at once.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from robolearn.core.errors import DatasetError, MissingDependencyError, one_line
from robolearn.core.pins import install_line, pins_in_use

DAMAGED = "the dataset is damaged; restore the file from a backup"

# a pathlib.Path made of a URL has lost a slash
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}")
_CREDENTIALS = re.compile(r"(?<=://)[^/]*@")
_KEYS_AT_ONCE = 256
_PACKAGES = {
    "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs",
    "sftp": "paramiko", "ssh": "paramiko", "abfs": "adlfs", "az": "adlfs",
}  # fmt: skip


class Store(ABC):
    """Read access to the files of one dataset.

    Attributes:
        name: the path or URL, for messages.
    """

    name: str

    def where(self, key: str) -> str:
        """The path or URL of a file, for messages."""
        return f"{self.name}/{key}"

    @abstractmethod
    def find(self, key: str) -> bytes | None:
        """A whole file, or None when there is none. Raises DatasetError when it cannot be read."""

    @abstractmethod
    def list(self, folder: str) -> Sequence[str]:
        """Names of what is directly in a folder, sorted; none where there is no such folder."""

    def read(self, key: str) -> bytes:
        """A whole file. Raises DatasetError when it is missing or cannot be read."""
        data = self.find(key)
        if data is None:
            raise DatasetError(f"{self.where(key)} is missing: {DAMAGED}.")
        return data

    def read_many(self, keys: Sequence[str]) -> Sequence[bytes]:
        """Several whole files, from far away at the same time. Raises like `read`."""
        return [self.read(key) for key in keys]

    def fill(self, pieces: Sequence[tuple[str, int, memoryview]], size: int) -> None:
        """Read a part of each of several files, all of them `size` bytes long.

        Args:
            pieces: (key, offset in the file, buffer to fill).

        Raises DatasetError when a file is missing, cannot be read or has another size.
        """
        for start in range(0, len(pieces), _KEYS_AT_ONCE):
            some = pieces[start : start + _KEYS_AT_ONCE]
            for (key, offset, out), data in zip(some, self.read_many([key for key, _, _ in some]), strict=True):
                if len(data) != size:
                    raise self._wrong_size(key, len(data), size)
                out[:] = data[offset : offset + len(out)]

    def _wrong_size(self, key: str, found: int, expected: int) -> DatasetError:
        return DatasetError(f"{self.where(key)} has {found} bytes, expected {expected}: {DAMAGED}.")


class LocalStore(Store):
    """A folder of this machine."""

    def __init__(self, path: Path):
        self.path = path
        self.name = str(path)

    def find(self, key: str) -> bytes | None:
        try:
            file = os.open(f"{self.name}/{key}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(file).st_size
                data = os.read(file, size)
                while len(data) < size and (more := os.read(file, size - len(data))):
                    data += more
                return data
            finally:
                os.close(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(key, error) from error

    def list(self, folder: str) -> Sequence[str]:
        try:
            return sorted(os.listdir(f"{self.name}/{folder}"))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def fill(self, pieces: Sequence[tuple[str, int, memoryview]], size: int) -> None:
        for key, offset, out in pieces:
            try:
                file = os.open(f"{self.name}/{key}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    found = os.fstat(file).st_size
                    while found == size and len(out) and (count := os.preadv(file, [out], offset)):
                        out, offset = out[count:], offset + count
                finally:
                    os.close(file)
            except FileNotFoundError as error:
                raise DatasetError(f"{self.where(key)} is missing: {DAMAGED}.") from error
            except OSError as error:
                raise self._unreadable(key, error) from error
            if found != size or len(out):
                raise self._wrong_size(key, found, size)

    def _unreadable(self, key: str, error: OSError) -> DatasetError:
        return DatasetError(f"{self.where(key)} cannot be read: {error.strerror}.")


class FsspecStore(Store):
    """A URL of any protocol that fsspec knows. Retries, credentials and time limits are fsspec's (`fsspec.config`).

    `name` is the URL without a user and password in it: names are printed and stored.

    Raises MissingDependencyError when the package for the protocol is not installed, DatasetError for a protocol that
    nobody knows, or a server that does not answer.
    """

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        self.name = _CREDENTIALS.sub("", self._url)
        self._process = -1
        self._file_system: Any = None
        self._root = ""
        self._connect()

    def _connect(self) -> Any:
        """The file system. Made anew in a forked process: connections and event loops do not survive a fork."""
        if self._process != os.getpid():
            try:
                import fsspec
            except ImportError as error:
                raise MissingDependencyError(
                    f"Reading {self.name} needs the package fsspec: {install_line('remote')}"
                ) from error
            try:
                self._file_system, self._root = fsspec.core.url_to_fs(self._url)
            except ImportError as error:
                package = _PACKAGES.get(self.name.partition("://")[0])
                way = f"the package {package}: pip install {package} -c {pins_in_use()}" if package else None
                raise MissingDependencyError(
                    f"Reading {self.name} needs {way or f'another package: {_line(error)}'}"
                ) from error
            except ValueError as error:
                raise DatasetError(f"{self.name} cannot be opened: {_line(error)}.") from error
            except Exception as error:  # some file systems connect at once, and each has exceptions of its own
                raise self._unreachable(self.name, error) from error
            self._process = os.getpid()
        return self._file_system

    def _path(self, key: str) -> str:
        return f"{self._root}/{quote(key) if self.name.startswith('http') else key}"

    def find(self, key: str) -> bytes | None:
        try:
            return bytes(self._connect().cat_file(self._path(key)))
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system has exceptions of its own
            raise self._unreadable(key, error) from error

    def list(self, folder: str) -> Sequence[str]:
        try:
            found = self._connect().ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._unreadable(folder, error) from error
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def read_many(self, keys: Sequence[str]) -> Sequence[bytes]:
        try:
            # keeps the order of the question and takes names as they are, which `cat` does not
            found = self._connect().cat_ranges([self._path(key) for key in keys], None, None, on_error="return")
        except Exception as error:
            raise self._unreadable(keys[0], error) from error
        return [self._answer(key, answer) for key, answer in zip(keys, found, strict=True)]

    def _answer(self, key: str, answer: Any) -> bytes:
        if isinstance(answer, FileNotFoundError):
            raise DatasetError(f"{self.where(key)} is missing: {DAMAGED}.") from answer
        if isinstance(answer, Exception):
            raise self._unreadable(key, answer) from answer
        return bytes(answer)

    def _unreadable(self, key: str, error: Exception) -> DatasetError:
        return self._unreachable(self.where(key), error)

    def _unreachable(self, place: str, error: Exception) -> DatasetError:
        return DatasetError(
            f"{place} cannot be read: {_line(error)}. Check the address and the network, then try again."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self._url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"])  # type: ignore[misc]


def open_store(location: str | Path) -> Store:
    """The store of a path or URL; `file://` and paths are local. Nothing is read yet.

    Raises DatasetError or MissingDependencyError for a URL of a protocol that cannot be used.
    """
    url = as_url(location)
    if url is None:
        return LocalStore(Path(location))
    protocol, _, rest = url.partition("://")
    return LocalStore(Path("/" + unquote(rest).lstrip("/"))) if protocol == "file" else FsspecStore(url)


def refuse_url(output: str | Path, why: str = "") -> None:
    """Raises DatasetError for a URL as the place of something new; `why` is a clause for the message."""
    url = as_url(output)
    if url is not None:
        reason = f"{why}; " if why else ""
        raise DatasetError(
            f"{_CREDENTIALS.sub('', url)} is a URL; {reason}choose a folder of this machine, and copy it there."
        )


def as_url(location: str | Path) -> str | None:
    """The URL that `location` is, or None for a path. Understands a Path that was made of a URL."""
    match = _URL.match(str(location))
    if match is None:
        return None
    return f"{match[1].lower()}://{str(location)[match.end() :]}"


def _line(error: Exception) -> str:
    """What an exception says first, in one line, without a full stop and without passwords."""
    first = next(iter(str(error).strip().splitlines()), "")
    return one_line(_CREDENTIALS.sub("", first) or type(error).__name__).rstrip(".")
