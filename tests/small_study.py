"""A study of tiny jobs in a folder of its own, for the tests of the command line; other processes can import it."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qrnn_helpers.study import __main__ as command
from qrnn_helpers.study.jobs import Job


@dataclass(frozen=True)
class SmallJob(Job):
    """A job that is stored below `root`."""

    root: Path = field(kw_only=True)

    @property
    def path(self) -> Path:
        return self.root / self.folder / f"{self.name}.json"


def draws(seed: int, start: float = 0.0) -> dict:
    return {"sum": start + np.random.default_rng(seed).random(1000).sum(), "seed": seed}


def fails(seed: int) -> dict:
    if seed == 2:
        raise RuntimeError("nothing comes of 2")
    return draws(seed)


class SmallStudy:
    """`count` jobs; one more, which goes on from their results, is known when all are done."""

    def __init__(self, root: Path, count: int = 5, work=draws):
        root.mkdir(exist_ok=True)
        self.first = [SmallJob("small", f"job-{i}", work, {"seed": i}, root=root) for i in range(count)]

    def jobs(self):
        yield from self.first
        if all(job.done for job in self.first):
            start = sum(job.result["sum"] for job in self.first)
            yield SmallJob("small", "later", draws, {"seed": 0, "start": start}, root=self.first[0].root)

    def summary(self, job):
        return job.result


if __name__ == "__main__":
    folder, count, *arguments = sys.argv[1:]
    command.STUDIES = (SmallStudy(Path(folder), int(count)),)
    command.main(arguments)
