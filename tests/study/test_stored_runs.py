"""The study's stored runs come out again: any of them, in other company, for its first hundred updates."""

import numpy as np
import pytest

from qrnn_helpers.study.arms import Problem, Setting, begun
from qrnn_helpers.study.jobs import Job
from qrnn_helpers.study.opened import cells
from qrnn_helpers.training import Budget

COMPARED = 100
"""Updates: further on, training amplifies the last bit."""

RTOL = 1e-4


def stored() -> list[Job]:
    return [job for jobs in cells("A").values() for job in jobs if job.done]


@pytest.mark.parametrize("draw", range(5))
def test_a_random_run_comes_out_again(draw):
    """One seed of a job, alone: its losses are those that it had among the others."""
    generator = np.random.default_rng()
    job = stored()[generator.integers(len(stored()))]
    place = int(generator.integers(len(job.settings["seeds"])))
    run = (Setting(**job.settings["setting"]), job.settings["seeds"][place])
    _, losses = begun(Problem(**job.settings["problem"]), Budget(**job.settings["budget"]), [run], COMPARED)
    kept = {int(update): values[place] for update, values in job.result["losses"].items() if int(update) < COMPARED}
    assert len(kept) > 10
    again = [losses[update, 0] for update in kept]
    np.testing.assert_allclose(again, list(kept.values()), rtol=RTOL, err_msg=f"{job.label}, seed {run[1]}")


def test_every_stored_run_is_whole_and_from_clean_code():
    assert stored()
    for job in stored():
        assert job.status == "stored", job.label
        assert job.record["apart"]["provenance"]["code"]["dirty"] is False, job.label
