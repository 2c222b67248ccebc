"""Files: atomic writing, JSON records, checksums and their manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ..checks import check_bytes, shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

DATA = Path(__file__).resolve().parents[2] / "data"  # data sets and stored results, in the checkout

SEAL = b"\nsha256 of all bytes before this line: "  # readers of HDF5 pass over what follows the end

LONGEST = 255  # bytes of a file's name

MANIFEST = "CHECKSUMS.sha256"

LISTED = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")  # a line of a manifest, as `sha256sum` writes it

LEFT = re.compile(r"\..*\.[0-9a-f]{32}\.tmp", re.DOTALL)  # the name of a temporary file

JSON_GROWTH = 32  # bytes of memory that a byte of JSON may take: "[]," is a list and a place in one


def write_json(record: object, path: str | os.PathLike) -> None:
    """Write `record` as JSON in one atomic move; NaN and infinities as Python writes them."""
    replace(checked_target(path), _to_json(record))


def read_json(path: str | os.PathLike) -> object:
    """Read a record that `write_json` wrote; a damaged file raises ValueError naming it."""
    path = checked_path(path)
    return _from_json(read_bytes(path, JSON_GROWTH), path)


def write_record(record: dict, path: str | os.PathLike) -> None:
    """Write `record` as JSON, and its checksum into its folder's manifest, as one step for all who `read_record`."""
    path, content = checked_target(path), _to_json(record)
    with _locked(path.parent):
        _put(path, content, first=lambda: _list(path, sha256_of(content)))


def read_record(path: str | os.PathLike) -> dict:
    """Read a record whose file is as the manifest of its folder says; anything else raises ValueError naming it."""
    path = checked_path(path)
    record = _from_json(listed_bytes(path, JSON_GROWTH), path)
    if not isinstance(record, dict):
        raise ValueError(f"path: {path} must hold a record, a JSON object; got {shown(record)}")
    return record


def checksum(path: str | os.PathLike) -> str:
    """sha256 of a file, as `sha256sum` prints it."""
    with open(checked_path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: str | os.PathLike) -> None:
    """Compare a file with the manifest `CHECKSUMS.sha256` in its folder; raise if they differ."""
    listed_bytes(checked_path(path))


def read_manifest(folder: str | os.PathLike) -> dict[str, str]:
    """File name -> sha256, from the `CHECKSUMS.sha256` of a folder; empty if there is none."""
    manifest, found = checked_path(folder) / MANIFEST, {}
    try:
        text = read_bytes(manifest, JSON_GROWTH).decode() if manifest.is_file() else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{manifest} is damaged: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        if not (match := LISTED.fullmatch(line)):
            raise ValueError(f"{manifest} must hold lines of sha256, two spaces, name; line {number} is {line!r:.200}")
        digest, name = match[1].lower(), match[2]
        if found.setdefault(name, digest) != digest:
            raise ValueError(f"{manifest} must have one checksum a file; line {number} is another for {name:.200}")
    return found


def add_to_manifest(path: str | os.PathLike) -> None:
    """Record a file's checksum in its folder's manifest, readable by `sha256sum --check`."""
    path = checked_path(path)
    with _locked(path.parent):
        _list(path, checksum(path))


def _list(path: Path, digest: str) -> None:
    """Put a file's line into its folder's manifest; the folder is locked."""
    if not LISTED.fullmatch(f"{digest}  {path.name}") or set(path.name) & set("\\\r\n"):
        raise ValueError(f"path must have a name without backslash or line break to be listed; got {shown(path.name)}")
    listed = read_manifest(path.parent) | {path.name: digest}
    lines = [f"{listed[name]}  {name}\n" for name in sorted(listed)]
    _put(path.parent / MANIFEST, "".join(lines).encode())


def listed_bytes(path: Path, growth: int = 1) -> bytes:
    """All bytes of a file that are those the manifest of its folder lists."""
    for pause in (nullcontext(), _locked(path.parent)):  # a writer may be between the line and the file: then wait
        with pause:
            content, expected = read_bytes(path, growth), read_manifest(path.parent).get(path.name)
        digest = sha256_of(content)
        if digest == expected:
            return content
    if expected is None:
        raise ValueError(f"{path} is not listed in {path.parent / MANIFEST}")
    raise ValueError(f"{path} is damaged: sha256 {digest}, {MANIFEST} has {expected}")


def checked_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be text or a Path; got {type(path).__name__}")
    try:
        path = Path(path)
        parts = [part.encode() for part in path.parts]
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"path must be text that UTF-8 can hold, or a Path; got {shown(path)}") from error
    if any(b"\0" in part or len(part) > LONGEST for part in parts) or sum(map(len, parts)) > 4000:
        raise ValueError(f"path must have names of at most {LONGEST} bytes, none of them 0; got {shown(path)}")
    return path


def checked_target(path: object) -> Path:
    """A path that can be written to."""
    path = checked_path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in an existing folder; there is no {path.parent}")
    if path.exists() and not path.is_file():
        raise ValueError(f"path must be a file, or no file yet; {path} is a folder or a device")
    return path


def read_bytes(path: Path, growth: int = 1) -> bytes:
    """All of a file, through one descriptor; `growth`: bytes of memory that one of its bytes may take."""
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    with open(path, "rb") as file:
        check_bytes("path", growth * os.fstat(file.fileno()).st_size, str(path))
        return file.read()


def replace(path: Path, *parts: bytes) -> None:
    """Make `path` a file of these parts in one move."""
    with _locked(path.parent):
        _put(path, *parts)


def _put(path: Path, *parts: bytes, first: Callable[[], None] = lambda: None) -> None:
    """`replace` in a folder that is locked; ``first`` is done when the content is on the disk, before the move.

    So a full disk finds neither file changed, and who is killed in between leaves a line without a new record,
    which is missing, and not a record that nobody vouches for.
    """
    temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # the content is on disk before the name points to it
        first()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """No other writer is at work in `folder` meanwhile, and what killed ones left is gone.

    The lock is the folder's own: it leaves no file behind and ends with the process, however that ends.
    On Windows, and where a file system has no such locks (some networks' have none), nothing is locked or removed.
    """
    descriptor = None
    try:
        with suppress(OSError, AttributeError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in folder.iterdir():
                if LEFT.fullmatch(left.name):  # who wrote it would hold the lock
                    left.unlink()
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):  # said in words: a process forked meanwhile has the descriptor, too
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _to_json(record: object) -> bytes:
    try:
        return (json.dumps(record, indent=1) + "\n").encode()
    except RecursionError as error:
        raise ValueError("record must not hold itself, nor be nested hundreds deep") from error


def _from_json(content: bytes, path: Path) -> object:
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path: {path} is damaged or not JSON: {error}") from error


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def seal_of(content: bytes) -> bytes:
    """The last line of a file with this content."""
    return SEAL + sha256_of(content).encode() + b"\n"
