"""The stored results of the book, from data sets to studies: do what is missing, say what there is.

    python -m qrnn_helpers.study plan [NAME ...]      what is stored and missing, and what that takes
    python -m qrnn_helpers.study run [NAME ...]       do what is missing; stop and start again at will
    python -m qrnn_helpers.study status [NAME ...]    what is stored, missing or damaged
    python -m qrnn_helpers.study table [NAME ...]     the scores of what is stored, means over seeds
    python -m qrnn_helpers.study open STAGE           read the test windows of a stage of the training study, once

A NAME is the beginning of folder/name.  Nothing is overwritten: to make a result anew, delete its file.
"""

from __future__ import annotations

import argparse
import math
import re
import signal
import sys
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ..dynamics import DATASETS
from ..storage import dirt
from . import (
    device,
    exponents,
    forecasts,
    laws,
    lorenz,
    methods,
    noise,
    observers,
    opened,
    plan,
    recurrent,
    reservoir,
    tasks,
)
from .jobs import DataFile, Job

STUDIES = (
    exponents,
    methods,
    plan,
    laws,
    recurrent,
    reservoir,
    tasks,
    forecasts,
    observers,
    lorenz,
    noise,
    device,
)
"""Modules with ``jobs()``, all jobs known so far, and ``summary(job)``, its scores."""


def known(names: list[str]) -> Iterator[Job]:
    """The jobs known so far whose labels begin with one of the names; a plan may grow as they are done."""
    for jobs in ([DataFile(name) for name in DATASETS], *(study.jobs() for study in STUDIES)):
        yield from (job for job in jobs if job.label.startswith(tuple(names) or ""))


def priced(jobs: Iterable[Job]) -> pd.DataFrame:
    """Jobs with their core-seconds and bytes: measured, else foreseen, else as stored runs of their like took."""
    rows = [[job.folder, job.label.split("-")[0], job.runs, job.done, *job.price] for job in jobs]
    table = pd.DataFrame(rows, columns=["folder", "group", "runs", "stored", "seconds", "bytes"])
    table = table.astype({"stored": bool, "seconds": float, "bytes": float})
    for amount in ("seconds", "bytes"):
        a_run = (table[amount] / table.runs).where(table.stored)
        for like in ("group", "folder"):
            means = a_run.groupby(table[like]).transform("mean")
            table[amount] = table[amount].fillna(means * table.runs)
    return table


def totals(jobs: pd.DataFrame) -> dict[str, object]:
    """Runs that are stored and missing, and what the missing ones take."""
    missing = jobs[~jobs.stored]
    takes = {"core-hours": added(missing.seconds / 3600), "MB": added(missing.bytes / 1e6)}
    return {"stored": jobs.runs[jobs.stored].sum(), "missing": missing.runs.sum()} | takes


def added(amounts: pd.Series) -> str:
    """A sum in words, which says what it lacks."""
    return f"{amounts.sum():.2f}" + " + unknown" * bool(amounts.isna().any())


def show_plan(names: list[str]) -> None:
    table = priced(known(names))
    parts = dict(list(table.groupby("group", sort=False))) | {"all known so far": table}
    print(pd.DataFrame({name: totals(jobs) for name, jobs in parts.items()}).T.to_string())


def attempt(job: Job) -> tuple[Job, str | None]:
    """Perform a job and tell what went wrong; one that fails takes no other with it."""
    try:
        job.perform()
    except Exception:
        return job, traceback.format_exc()
    return job, None


def on_cluster(jobs: list[Job], address: str) -> Generator[tuple[Job, str | None]]:
    """`attempt` all on the workers of a Dask scheduler, which see the folder of this checkout; as they end."""
    try:
        from distributed import Client, as_completed

        client = Client(address)
    except ImportError as error:
        raise SystemExit("--scheduler needs the package distributed: pip install 'qrnn-helpers[cluster]'") from error
    except (OSError, ValueError) as error:
        raise SystemExit(f"--scheduler must be the address of a running Dask scheduler; {address}: {error}") from error
    with client:  # one call a job: those that come first go first
        futures = {client.submit(attempt, job, pure=False): job for job in jobs}
        for future in as_completed(futures):
            lost = future.exception()  # a worker that died; attempt itself raises nothing
            yield (futures[future], f"{type(lost).__name__}: {lost}") if lost else future.result()


def foreseen(job: Job) -> float:
    """Core-seconds; what is unknown may be long.  Longest first, no worker is left alone with a long one at the end."""
    return math.inf if job.cost_seconds is None else job.cost_seconds


def missing(names: list[str], failed: list[str]) -> list[Job]:
    """Data sets first, and then what is known so far."""
    jobs = {job.label: job for job in known(names) if not job.done and job.label not in failed}
    data_sets = [job for job in jobs.values() if isinstance(job, DataFile)]
    return sorted(data_sets or jobs.values(), key=foreseen, reverse=True)


def here(jobs: list[Job], workers: int) -> Generator[tuple[Job, str | None]]:
    """`attempt` all in processes of this machine; as they end."""
    parallel = Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered")
    return parallel(delayed(attempt)(job) for job in jobs)


def run(names: list[str], workers: int, scheduler: str | None) -> None:
    """Do what is missing, until nothing is."""
    failed: list[str] = []
    while jobs := missing(names, failed):
        outcomes = on_cluster(jobs, scheduler) if scheduler else here(jobs, workers)
        with closing(outcomes), tqdm(total=sum(job.runs for job in jobs), unit="run") as bar:
            for job, error in outcomes:
                bar.update(job.runs)
                if error or not job.done:
                    failed.append(job.label)
                    bar.write(f"{job.label} failed: {error or 'its worker stored it elsewhere'}", sys.stderr)
    if failed:
        raise SystemExit(f"{len(failed)} failed: {', '.join(failed)}")


def check_clean() -> None:
    """Refuse code that nobody could come back to."""
    if found := dirt():
        raise SystemExit("\n  ".join(["The tree is dirty; commit first, or say --dirty and the results will:", *found]))


def open_stages(names: list[str]) -> None:
    """Read the test windows of these stages; the records say when."""
    for job in map(opened.opening, names):
        job.perform()
        print(f"{job.status:<7} {job.label}")


def show_status(names: list[str]) -> None:
    for job in known(names):
        print(f"{job.status:<7} {job.label}")


def show_table(names: list[str]) -> None:
    """Means, standard deviations and counts over seeds; trials of settings, on the tuning seed, stand apart."""
    for study in STUDIES:
        jobs = [job for job in study.jobs() if job.label.startswith(tuple(names) or "") and job.done]
        rows = [{"name": re.sub(r"-seed\d\b", "", job.label)} | study.summary(job) for job in jobs]
        if rows:
            print(pd.DataFrame(rows).groupby("name", sort=False).agg(["mean", "std", "count"]).round(4).to_string())


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qrnn_helpers.study", description="The book's stored results.")
    parser.add_argument("command", choices=("plan", "run", "status", "table", "open"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginning of folder/name (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster instead, its workers of one thread each")
    parser.add_argument("--dirty", action="store_true", help="run code that differs from its commit")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    chosen = parsed(arguments)
    try:
        if chosen.command in ("run", "open") and not chosen.dirty:
            check_clean()
        if chosen.command == "run":
            run(chosen.names, chosen.workers, chosen.scheduler)
        else:
            commands = {"plan": show_plan, "status": show_status, "table": show_table, "open": open_stages}
            commands[chosen.command](chosen.names)
    except KeyboardInterrupt:
        raise SystemExit("Stopped; what was done is stored, and `run` goes on from there.") from None
    except ValueError as error:  # a plan that goes on from a damaged result
        raise SystemExit(f"{error}\nRemove what is damaged; `run` makes it anew.") from error


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does, workers and all
    main()
