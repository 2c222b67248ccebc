"""Files: atomic writing, JSON records, checksums and their manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ..checks import check_bytes, check_instance, shown

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

AnyPath = str | os.PathLike[str]

ROOT = Path(__file__).resolve().parents[2]  # the checkout

DATA = ROOT / "data"  # data sets and stored results

LONGEST_NAME = 255  # bytes of a file's name

LONGEST_PATH = 4000  # bytes

MANIFEST = "CHECKSUMS.sha256"

LISTED = re.compile(r"(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>.+?)\r?|\s*")  # a line, as `sha256sum` writes it

LEFT = re.compile(r"\..*\.[0-9a-f]{32}\.tmp", re.DOTALL)  # the name of a temporary file

JSON_GROWTH = 32  # bytes of memory that a byte of JSON may take: "[]," is a list and a place in one


# --- records ------------------------------------------------------------------------------


def write_json(record: object, path: AnyPath) -> None:
    """Write `record` as JSON in one atomic move; NaN and infinities as Python writes them."""
    replace(path, _to_json(record))


def read_json(path: AnyPath) -> object:
    """Read a record that `write_json` wrote; a damaged file raises ValueError naming it."""
    return _from_json(read_bytes(path, JSON_GROWTH), path)


def write_record(record: dict, path: AnyPath) -> None:
    """Write `record` as JSON, and its checksum into its folder's manifest, as one step for all who `read_record`."""
    target = checked_target(path)
    content = _to_json(record)
    # A full disk finds neither file changed; who is killed in between leaves a line without a new record, which is
    # missing, and not a record that nobody vouches for.
    with _locked(target.parent), _moved_at_end(target, content):
        _list(target, sha256_of(content))


def read_record(path: AnyPath) -> dict:
    """Read a record whose file is as the manifest of its folder says; anything else raises ValueError naming it."""
    record = _from_json(listed_bytes(path, JSON_GROWTH), path)
    if not isinstance(record, dict):
        raise ValueError(f"path: {path} must hold a record, a JSON object; got {shown(record)}")
    return record


def _to_json(record: object) -> bytes:
    try:
        return (json.dumps(record, indent=1) + "\n").encode()
    except RecursionError as error:
        raise ValueError("record must not hold itself, nor be nested hundreds deep") from error


def _from_json(content: bytes, path: AnyPath) -> object:
    with damage_named(path, "not JSON"):
        return json.loads(content.decode())


# --- checksums ----------------------------------------------------------------------------


def checksum(path: AnyPath) -> str:
    """sha256 of a file, as `sha256sum` prints it."""
    return sha256_of(read_bytes(path))


def sha256_of(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def verify(path: AnyPath) -> None:
    """Compare a file with the manifest `CHECKSUMS.sha256` in its folder; raise if they differ."""
    listed_bytes(path)


def listed_bytes(path: AnyPath, growth: int = 1) -> bytes:
    """All bytes of a file that are those the manifest of its folder lists; ``growth`` as in `read_bytes`."""
    path = checked_path(path)
    for pause in (nullcontext(), _locked(path.parent)):  # a writer may be between the line and the file: then wait
        with pause:
            content = read_bytes(path, growth)
            expected = read_manifest(path.parent).get(path.name)
        digest = sha256_of(content)
        if digest == expected:
            return content
    if expected is None:
        raise ValueError(f"{path} is not listed in {path.parent / MANIFEST}")
    raise ValueError(f"{path} is damaged: sha256 {digest}, {MANIFEST} has {expected}")


def add_to_manifest(path: AnyPath) -> None:
    """Record a file's checksum in its folder's manifest, readable by `sha256sum --check`."""
    path = checked_path(path)
    with _locked(path.parent):
        _list(path, checksum(path))


def read_manifest(folder: AnyPath) -> dict[str, str]:
    """File name -> sha256, from the `CHECKSUMS.sha256` of a folder; empty if there is none."""
    manifest = checked_path(folder) / MANIFEST
    if not manifest.is_file():
        return {}
    with damage_named(manifest, "not text"):
        lines = read_bytes(manifest, JSON_GROWTH).decode().split("\n")
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not (match := LISTED.fullmatch(line)):
            raise ValueError(f"{manifest} must hold lines of sha256, two spaces, name; line {number} is {line!r:.200}")
        name, digest = match["name"], match["digest"]
        if name and listed.setdefault(name, digest.lower()) != digest.lower():
            raise ValueError(f"{manifest} must have one checksum a file; line {number} is another for {name:.200}")
    return listed


def _list(path: Path, digest: str) -> None:
    """Put a file's line into its folder's manifest; the folder is locked."""
    if set(path.name) & set("\\\r\n"):
        raise ValueError(f"path must have a name without backslash or line break to be listed; got {shown(path.name)}")
    listed = read_manifest(path.parent) | {path.name: digest}
    lines = [f"{listed[name]}  {name}\n" for name in sorted(listed)]
    with _moved_at_end(path.parent / MANIFEST, "".join(lines).encode()):
        pass


# --- bytes --------------------------------------------------------------------------------


def checked_path(path: AnyPath) -> Path:
    """A Path whose names a file system can bear."""
    check_instance("path", path, (str, os.PathLike), "text or a Path")
    try:
        checked = Path(path)
        names = [name.encode() for name in checked.parts]
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"path must be text that UTF-8 can hold, or a Path; got {shown(path)}") from error
    long = max(map(len, names), default=0) > LONGEST_NAME or sum(map(len, names)) > LONGEST_PATH
    if long or b"\0" in b"".join(names):
        raise ValueError(f"path must have names of at most {LONGEST_NAME} bytes, none of them 0; got {shown(path)}")
    return checked


def checked_target(path: AnyPath) -> Path:
    """A path that can be written to."""
    target = checked_path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path must lie in an existing folder; there is no {target.parent}")
    if target.exists() and not target.is_file():
        raise ValueError(f"path must be a file, or no file yet; {target} is a folder or a device")
    return target


def read_bytes(path: AnyPath, growth: int = 1) -> bytes:
    """All of a file, through one descriptor; ``growth``: bytes of memory that one of its bytes may take."""
    path = checked_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file; there is none at {path}")
    with open(path, "rb") as file:
        check_bytes("path", growth * os.fstat(file.fileno()).st_size, str(path))
        return file.read()


@contextmanager
def damage_named(path: AnyPath, kind: str) -> Iterator[None]:
    """Whatever error reading ends in says that the file is damaged or of another ``kind``, and which file."""
    try:
        yield
    except Exception as error:  # one flipped bit may be a shape, a dtype, a key or a number
        raise ValueError(f"path: {path} is damaged or {kind}: {error}") from error


def replace(path: AnyPath, *parts: bytes | memoryview) -> None:
    """Make `path` a file of these parts in one move."""
    path = checked_target(path)
    with _locked(path.parent), _moved_at_end(path, *parts):
        pass


@contextmanager
def _moved_at_end(path: Path, *parts: bytes | memoryview) -> Iterator[None]:
    """These parts are on the disk during the block, and make the file `path` in one move at its end."""
    temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())  # the content is on disk before the name points to it
        yield
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
