"""Files that are read as they were written: records, fields, states, and where they come from."""

from .fields import load, load_listed, save
from .files import DATA, add_to_manifest, read_json, read_record, verify, write_json, write_record
from .origins import dirt, package_version, provenance
from .state import load_state, save_state

__all__ = [
    "DATA",
    "add_to_manifest",
    "dirt",
    "load",
    "load_listed",
    "load_state",
    "package_version",
    "provenance",
    "read_json",
    "read_record",
    "save",
    "save_state",
    "verify",
    "write_json",
    "write_record",
]
