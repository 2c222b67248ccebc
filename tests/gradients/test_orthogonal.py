"""SPSA along rows of a Hadamard matrix."""

import pytest
import scipy.linalg
import torch
from problems import gradient, problem

from qrnn_helpers import SPSA, rotation_step
from qrnn_helpers.gradients.directions import hadamard_rows

STEP = rotation_step(1, 1)
PLACES, ORDER = 2 * 13, 32
"""Angles of two steps, and the order of the matrix."""


def angles_of(batch: int) -> torch.Tensor:
    return torch.zeros((batch, 2, 13), dtype=torch.float64, device="cpu")


def law(directions: int) -> float:
    """Squared error over |g|**2."""
    return (PLACES - 1) / directions * (ORDER - directions) / (ORDER - 1)


def test_rows_are_those_of_the_hadamard_matrix():
    wanted = torch.tensor(scipy.linalg.hadamard(64))
    assert torch.equal(hadamard_rows(torch.arange(64), 64), wanted)
    assert torch.equal(hadamard_rows(torch.tensor([[3, 63]]), 27)[0], wanted[[3, 63], :27])


def test_uncut_directions_are_orthogonal_and_fresh_for_every_sample():
    square = torch.zeros((5, 2, 8), dtype=torch.float64, device="cpu")  # 16 places: nothing is cut
    signs = SPSA(directions=16, seed=1, orthogonal=True).signs(square).flatten(2)
    assert (signs.abs() == 1).all()
    gram = torch.einsum("mbl, nbl -> bmn", signs, signs)
    torch.testing.assert_close(gram, 16 * torch.eye(16, dtype=torch.float64).expand(5, -1, -1))
    assert len(signs.unique(dim=1)[0]) == 5


def test_all_rows_give_back_any_gradient():
    """sum over rows of Delta Delta^T = n 1, cut or not: with m = n only the bias of c is left."""
    step, angles, weights = problem(STEP, 3, 2)
    exact = gradient(step, angles, weights)
    errors = [
        (gradient(step, angles, weights, gradient=SPSA(c, ORDER, 1, orthogonal=True)) - exact).abs().max()
        for c in (0.02, 0.01)
    ]
    assert errors[1] < 1e-3
    assert float(errors[0] / errors[1]) == pytest.approx(4, rel=0.05)  # O(c**2)


@pytest.mark.parametrize("directions", [1, 5, PLACES])
def test_mean_and_error_are_those_of_the_law(directions):
    """4,000 equal samples: z-scores of 26 slopes below 4, the mean squared error within 4.5 of its own errors."""
    step, angles, weights = problem(STEP, 1, 2, seed=6)
    exact = gradient(step, angles, weights)
    spsa = SPSA(1e-4, directions, 7, orthogonal=True)
    found = gradient(step, angles.expand(4000, -1, -1), weights, gradient=spsa)
    assert ((found.mean(0) - exact[0]).abs() < 4 * found.std(0) / 4000**0.5).all()
    errors = (found - exact).square().sum((1, 2)) / exact.square().sum()
    assert abs(errors.mean() - law(directions)) < 4.5 * errors.std() / 4000**0.5 + 1e-6
    assert law(directions) < (PLACES - 1) / directions or directions == 1


def test_causal_slopes_have_the_right_mean_too():
    step, angles, weights = problem(STEP, 1, 2, seed=6)
    exact = gradient(step, angles, weights)[0]
    spsa = SPSA(1e-3, 5, 7, causal=True, orthogonal=True)
    found = gradient(step, angles.expand(4000, -1, -1), weights, gradient=spsa)
    assert ((found.mean(0) - exact).abs() < 4 * found.std(0) / 4000**0.5).all()


def test_more_directions_than_rows_and_other_bad_settings_are_refused():
    step, angles, weights = problem(STEP, 1, 2)
    with pytest.raises(ValueError, match="directions must be at most 32; got 33"):
        gradient(step, angles, weights, gradient=SPSA(0.1, 33, 1, orthogonal=True))
    with pytest.raises(TypeError, match="orthogonal must be True or False"):
        SPSA(orthogonal=1)
