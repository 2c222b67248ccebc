"""Where a stored result comes from: code, versions, machine.

`provenance()` keeps two things apart: what has to be equal for a result to come out the
same again, and facts about the one machine and moment, which may differ.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tomllib
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .files import ROOT

PACKAGE = Path(__file__).resolve().parents[1]

LIBRARIES = ("numpy", "scipy", "torch", "qiskit", "qiskit-aer", "xarray")

CODE = (":/", ":(top,exclude,glob)data/*/**")  # stored results are committed as they come


def package_version(name: str = "qrnn-helpers") -> str:
    """Installed version of a distribution, "not installed" where there is none.

    This package itself may run from its checkout; then pyproject.toml knows.
    """
    try:
        return version(name)
    except PackageNotFoundError:
        project = ROOT / "pyproject.toml"
        if name != "qrnn-helpers" or not project.is_file():
            return "not installed"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]


def dirt() -> list[str]:
    """Why results of this code may not come out again from its commit; empty if nothing is in the way.

    These are tracked files that differ, and files of this package that are not tracked.  Stored results are no code.
    """
    if _commit() is None:
        return ["no commit: the package does not lie in a checkout of its own"]
    changed = _git("diff", "--name-only", "HEAD", "--", *CODE)
    unknown = _git("ls-files", "--others", "--exclude-standard", "--full-name", "--", ".")
    if changed is None or unknown is None:
        return ["no answer from git"]
    return [*changed.splitlines(), *unknown.splitlines()]


@cache
def git_state() -> dict[str, str | bool | None]:
    """Commit of the checkout that holds this package, and whether there is `dirt`, as a process first finds them.

    What it has imported does not change with the files.  Both are None where the package does not lie in a
    checkout of its own.
    """
    commit = _commit()
    return {"commit": commit, "dirty": None if commit is None else bool(dirt())}


def provenance() -> dict[str, dict]:
    """`{"code": ..., "versions": ..., "machine": ...}`, of plain strings, numbers and None.

    `code` and `versions` belong to the result; `machine` (processor, system, time) is to be
    stored apart and never compared.  Nothing names the computer or a place on it.
    """
    versions = {"python": platform.python_version()}
    versions |= {name: package_version(name) for name in LIBRARIES}
    return {
        "code": {"package": package_version()} | git_state(),
        "versions": versions,
        "machine": _machine(),
    }


def _machine() -> dict[str, str | int | None]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str | None:
    """Model name where Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or None


def _commit() -> str | None:
    """The commit checked out, if this file is one of those that git tracks there."""
    return _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", "storage/origins.py") else None


def _git(*arguments: str) -> str | None:
    """Output of a git command in this package's folder; None if it fails or git is absent."""
    try:
        done = subprocess.run(["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
