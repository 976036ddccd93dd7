"""Files that are written whole or not at all, by one process at a time."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path, ending: str = ".partial") -> Iterator[Path]:
    """Give a place beside `path` to write a file to; in the end it is moved to `path` in whole.

    Whatever stops the writing, even a power failure, `path` has all of the new content or all of the old.
    Two that write it at once have one such place, and spoil each other's: `alone` keeps them apart.

    Args:
        path: the file; of a link, the file that it leads to.
        ending: what is added to its name for that place.

    Raises:
        OSError: the folder cannot be written; the message names it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> with atomic_write(path) as partial:
    ...     _ = partial.write_text("all of it")
    >>> path.read_text()
    'all of it'
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()
    partial = path.with_name(path.name + ending)
    with naming(path.parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            flush(partial)
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def numbered(path: str | Path) -> Iterator[Path]:
    """Yield a file's name, and after it the names for whoever writes over no other file: `NAME-2` and so on.

    >>> names = numbered("faces.csv")
    >>> next(names).name, next(names).name
    ('faces.csv', 'faces-2.csv')
    """
    path = Path(path)
    yield path
    for number in count(2):
        yield path.with_stem(f"{path.stem}-{number}")


def cache_folder() -> Path:
    """Return the folder for what can be made again: in the user's home, or without one a temporary one.

    >>> cache_folder().name
    'ssrlib'
    """
    home = os.path.expanduser("~")  # where there is none, it stays as it is
    return Path(tempfile.gettempdir() if home == "~" else home) / ".cache" / "ssrlib"


def flush(path: Path) -> None:
    """Wait until a file's bytes are on the disk: only then may its name promise them."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Turn the operating system's error into a sentence that names the folder and says how to go on.

    Errors about what lies elsewhere stay as they are: whoever writes may also read, or start programs.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or not _is_about(folder, error):  # a sentence already, or none of ours
            raise
        reason = os.strerror(error.errno)
        raise OSError(
            f"{folder}: cannot be written ({reason}); what was saved before stays: "
            "when that is mended, give the same command again"
        ) from error


def _is_about(folder: Path, error: OSError) -> bool:
    if error.filename is None:  # in the middle of a file; or a broken pipe, or on Windows a missing program
        return not isinstance(error, ConnectionError | FileNotFoundError)
    place, folder = Path(str(error.filename)).resolve(), folder.resolve()
    return place.is_relative_to(folder) or folder.is_relative_to(place)


@contextmanager
def alone(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from writing a file or folder; who has it may ask for it again.

    The lock is the operating system's, on a file beside `path`: it ends with its process, however that ends.

    Args:
        path: what is going to be written; it need not exist.
        wait: for the other process to end, instead of raising an error.

    Raises:
        OSError: another process has it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # who only reads photos need not have it

    path = Path(path).resolve()
    lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)
    with naming(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=wait)
        except Timeout:
            if not Path(lock.lock_file).exists():  # so there is no lock that another process could have
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
            raise OSError(
                f"{path}: another process is writing there; wait for its end, or choose another place"
            ) from None
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            # While it is locked, so that nobody else can have it. Windows does this itself.
            with suppress(OSError):
                Path(lock.lock_file).unlink()
        lock.release()
