"""The stored results of the book, from data sets to studies: do what is missing, say what there is.

    python -m qrnn_helpers.study run [NAME ...]       do what is missing; stop and start again at will
    python -m qrnn_helpers.study status [NAME ...]    what is stored, missing or damaged
    python -m qrnn_helpers.study table [NAME ...]     the scores of what is stored, means over seeds

A NAME is the beginning of folder/name.  Nothing is overwritten: to make a result anew, delete its file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pandas as pd
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ..dynamics import DATASETS
from . import exponents, forecasts, lorenz, methods, observers, tasks
from .jobs import DataFile, Job

STUDIES = (exponents, methods, tasks, forecasts, observers, lorenz)
"""Modules with ``jobs()``, all jobs known so far, and ``summary(job)``, its scores."""


def known(names: list[str]) -> Iterator[Job]:
    """The jobs known so far whose labels begin with one of the names; a plan may grow as they are done."""
    everything = [[DataFile(name) for name in DATASETS], *(study.jobs() for study in STUDIES)]
    for jobs in everything:
        yield from (job for job in jobs if job.label.startswith(tuple(names) or ""))


def run(names: list[str], workers: int) -> None:
    """Do what is missing, until nothing is: data sets first, and then what is known by each round."""
    while missing := {job.label: job for job in known(names) if not job.done}:
        first = {label: job for label, job in missing.items() if isinstance(job, DataFile)} or missing
        rounds = Parallel(n_jobs=workers, return_as="generator_unordered")
        for _ in tqdm(rounds(delayed(job.perform)() for job in first.values()), total=len(first)):
            pass


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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m qrnn_helpers.study", description="The book's stored results.")
    parser.add_argument("command", choices=("run", "status", "table"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginning of folder/name (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "run":
            run(chosen.names, chosen.workers)
        elif chosen.command == "status":
            show_status(chosen.names)
        else:
            show_table(chosen.names)
    except ValueError as error:  # a plan that goes on from a damaged result
        raise SystemExit(f"{error}\nRemove what is damaged; `run` makes it anew.") from error


if __name__ == "__main__":
    main()
