"""Two thousand random arguments to the public calls: a right answer, or an error that names the argument.

`calls.TABLE` holds every public call with good arguments.  A case changes one to three of them: into
something bad (`junk`), or into the same value in another form (`forms`).  Then

- an error must be a TypeError, a ValueError or a documented one, come from this package's own lines, name
  an argument that was changed, and be shorter than LONGEST;
- an answer is allowed only if the arguments admit their values; it must be right, and where only forms
  were changed, the same as before;
- nothing may warn, draw from or change what belongs to the whole process, write into an argument, take more
  than MEMORY bytes, or go on for ever.

A case is a pure function of seed, call and number.  RANDOM_INPUT="2 20000" takes another seed and so many cases.
"""

from __future__ import annotations

import collections
import faulthandler
import inspect
import os
import random
import re
import signal
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import junk
import numpy as np
import pytest
import torch
import xarray as xr
from calls import TABLE, Kind
from forms import forms, same
from torch import nn

import qrnn_helpers as q
from qrnn_helpers.backends import SamplerError

SEED, COUNT = map(int, os.environ.get("RANDOM_INPUT", "1 2000").split())
LONGEST, MEMORY = 600, 2**30
FOREVER = 60  # seconds of processor time; the slowest case takes less than one
PACKAGE = Path(q.__file__).parent

ERRORS = (TypeError, ValueError, FileNotFoundError, IsADirectoryError, FloatingPointError, SamplerError)
OWN = ("raises", "a baseline that raises", "on a device without memory", "refusing", "with integer weights")
OWN += ("a pair of refusing tensors", "a baseline of other settings")
"""What a reader's own model raises passes through; so does what any function of theirs raises."""

INNER = {"10**12 shots": "shots", "a QRNN with 10**12 shots": "shots", "10**12 directions": "directions"}
INNER |= {"a sampler's backend": "sampler", "an Aer sampler's backend": "sampler"}
INNER |= {"1.7976931348623157e+308": "closure", "weights NaN": "closure", "weights 1e308": "(c|closure)"}
"""Whose own argument may be named: that of a backend or an estimator that is too large, the loss of bad weights."""

FORM = "form"
Changes = dict[str, tuple[tuple[str, str], Callable]]
"""For each changed argument: topic and label of its new value, and the function of a folder that makes it."""


def cases() -> dict[str, int]:
    """How many of COUNT cases each call gets: by the number of its arguments."""
    slots = [name for name, call in TABLE.items() for _ in call.kinds]
    return collections.Counter(slots[i % len(slots)] for i in range(COUNT))


def changes(name: str, number: int, folder: Path) -> Changes:
    rng, call = random.Random(f"{SEED} {name} {number}"), TABLE[name]
    given = call.given(folder)
    chosen = rng.sample(list(call.kinds), min(len(call.kinds), rng.choice((1, 1, 1, 2, 3))))
    found = {}
    for argument in chosen:
        known = forms(given[argument], folder)
        if known and rng.random() < 0.3:
            label = rng.choice(list(known))
            found[argument] = ((FORM, label), lambda _, make=known[label]: make())
        else:
            found[argument] = junk.draw(rng, call.kinds[argument].topic)
    return found


# ---------------------------------------------------------------- around a case


class Overrun(BaseException):
    """Not an Exception, so that no `except Exception` under test hides it."""


@contextmanager
def guarded():
    """Stop a case that never ends or takes too much memory."""

    def stop(*_):
        raise Overrun(f"more than {FOREVER} s")

    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, FOREVER)
    faulthandler.dump_traceback_later(10 * FOREVER, exit=True)  # the last resort: stuck where no signal is heard
    try:
        with limited_memory(), warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def limited_memory():
    """MEMORY bytes more than the process has now, where the system can say so (Linux)."""
    pages = Path("/proc/self/statm")
    if not pages.is_file():
        yield
        return
    import resource

    old = resource.getrlimit(resource.RLIMIT_AS)
    now = int(pages.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def of_the_process() -> dict[str, object]:
    """What belongs to all: settings and generators."""
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": [*map(str, np.random.get_state()), np.random.get_state()[1].tobytes()],  # noqa: NPY002
        "random's generator": random.getstate(),
        "torch's settings": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()),
        "numpy's settings": (np.geterr(), repr(np.get_printoptions())),
        "folder": os.getcwd(),
    }


def contents(values: dict) -> dict[str, bytes]:
    """The numbers in small arguments, to see that none is written into."""
    found = {}
    for name, value in values.items():
        if type(value) in (torch.Tensor, nn.Parameter) and value.layout == torch.strided and not value.is_meta:
            value = value.detach().resolve_conj().resolve_neg()
            if value.dim() > 0 and value.numel() < 10_000:
                found[name] = value.contiguous().view(torch.uint8).numpy()
        elif isinstance(value, (np.ndarray, xr.DataArray)) and value.size < 10_000 and value.dtype != object:
            found[name] = np.asarray(value)
    return {name: value.tobytes() for name, value in found.items()}


# ---------------------------------------------------------------- the judgement


class Watched:
    """A function that remembers whether it has raised: such an error is its owner's."""

    def __init__(self, function):
        self.function, self.raised = function, False

    def __call__(self, *args, **kwargs):
        try:
            return self.function(*args, **kwargs)
        except Exception:
            self.raised = True
            raise


def admitted(kind: Kind, value: object) -> bool:
    """What an argument admits; never what cannot even be asked."""
    try:
        return kind.admits(value)
    except Exception:
        return False


def fault_in(error: BaseException, changed: Changes, values: dict, kinds: dict) -> str | None:
    """What is wrong with an error, or None."""
    own = any(isinstance(value, Watched) and value.raised for value in values.values())
    if isinstance(error, Exception) and (own or any(label in OWN for (_, label), _ in changed.values())):
        return None
    if not isinstance(error, ERRORS):
        return f"raised {type(error).__name__}"
    place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    if PACKAGE not in place.parents and "params argument given to the optimizer" not in str(error):
        return f"raised in {place.name}"
    names = [*changed, *(INNER[label] for (_, label), _ in changed.values() if label in INNER)]
    if all(admitted(kinds[name], value) for name, value in values.items()):
        names += kinds  # each alone is right: whichever does not fit the others may be named
    if not any(re.search(rf"(?<!\w){name}(?!\w)", str(error)) for name in names):
        return "raised without the argument's name"
    return f"raised a message of {len(str(error))} characters" if len(str(error)) >= LONGEST else None


@cache
def answer_before(name: str, folder: Path) -> object:
    """What a call answers to its good arguments."""
    return TABLE[name].run(**TABLE[name].given(folder))


def fault_of(name: str, changed: Changes, folder: Path) -> str | None:
    """What is wrong with a case, with all that is needed to see it, or None."""
    call = TABLE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = {argument: make(folder) for argument, (_, make) in changed.items()}
    for argument in changed:
        if call.kinds[argument].topic == "function" and callable(values[argument]):
            values[argument] = Watched(values[argument])
    given = call.given(folder) | values
    before, inside = of_the_process(), contents(given)
    try:
        with guarded():
            answer = call.run(**given)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Overrun, a warning, and what Rust calls a panic
        fault = fault_in(error, changed, values, call.kinds)
        return fault and f"{fault}: {str(error)[:300]}"
    after = of_the_process()
    if wrong := [what for what in before if before[what] != after[what]]:
        return f"has changed {wrong}"
    if contents(given) != inside:
        return "has written into an argument"
    for argument, ((topic, _), _) in changed.items():
        if topic != FORM and not admitted(call.kinds[argument], values[argument]):
            return f"{argument} was taken without a word"
    try:
        call.right(given, answer)
    except Exception as error:
        return f"a wrong answer: {type(error).__name__} {str(error)[:300]}"
    if all(topic == FORM for (topic, _), _ in changed.values()) and not same(answer_before(name, folder), answer):
        return f"another answer than before: {answer!r:.200}, {answer_before(name, folder)!r:.200}"
    return None


@pytest.mark.parametrize("name, count", cases().items(), ids=cases())
def test_random_input(name, count, tmp_path, monkeypatch):
    faults = []
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        changed = changes(name, number, folder)
        if fault := fault_of(name, changed, folder):
            faults.append(f"{number}: {', '.join(f'{k} = {t}: {v}' for k, ((t, v), _) in changed.items())}: {fault}")
    assert not faults, f"{name}\n" + "\n".join(faults)


def test_the_table_holds_every_public_name():
    held = {name.split(".")[0].split()[0] for name in TABLE}
    missing = [name for name in q.__all__ if name not in held and takes_arguments(getattr(q, name))]
    assert not missing, f"add to the table of tests/calls.py: {missing}"


def takes_arguments(value) -> bool:
    """Neither an error nor a function that can be called in one way only."""
    return not (isinstance(value, type) and issubclass(value, Exception)) and bool(inspect.signature(value).parameters)


@pytest.mark.parametrize("name", TABLE)
def test_good_arguments_have_a_right_answer(name, tmp_path):
    call = TABLE[name]
    given = call.given(tmp_path)
    assert all(kind.admits(given[k]) for k, kind in call.kinds.items())
    call.right(given, call.run(**given))
