"""One step circuit that a reader writes by hand, on every backend and under every gradient estimator.

It holds gates that no line of the package names: rotations under one, two and three controls, a controlled
sub-circuit, a controlled Pauli evolution, and an angle that is no linear expression.  Estimators are found
by asking for the subclasses of `GradientEstimator`: a new one is tested here as soon as it exists.
"""

from inspect import signature

import numpy as np
import pytest
import torch
from problems import by_hand
from qiskit_aer.primitives import SamplerV2
from reference import LEVEL, chi_square, evolve, random_angles

import qrnn_helpers
from qrnn_helpers import Autograd, GradientEstimator, QuantumRecurrentLayer, SamplerBackend, ShotBackend
from qrnn_helpers.simulation import StepProgram

pytestmark = pytest.mark.filterwarnings("ignore:.*CSC:scipy.sparse.SparseEfficiencyWarning")

COPIES = 300
"""Equal samples, each with shots and directions of its own: their mean has a standard error."""

SHOTS = 100


STEP = by_hand()
ANGLES = random_angles(STEP, 1, 2, seed=1)
WEIGHTS = torch.tensor([0.3, -1.0, 0.7, 1.4], dtype=torch.float64)


def gradient(angles: torch.Tensor, **options) -> torch.Tensor:
    leaf = angles.detach().clone().requires_grad_()
    (QuantumRecurrentLayer(STEP, **options)(leaf)[0] @ WEIGHTS).sum().backward()
    return leaf.grad


def exported() -> list[type[GradientEstimator]]:
    """All estimators that the package exports, but for Autograd: it is what they are measured against."""
    found = [kind for kind in vars(qrnn_helpers).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, GradientEstimator) and kind not in (GradientEstimator, Autograd)]


def made(kind: type[GradientEstimator], step: float) -> GradientEstimator:
    """An estimator with a seed, and a finite step if it has one."""
    options = {"c": step, "h": step, "seed": 5}
    return kind(**{name: options[name] for name in signature(kind).parameters if name in options})


def test_every_estimator_is_found():
    assert {"ParameterShift", "SPSA"} <= {kind.__name__ for kind in exported()}


def test_exact_probabilities_are_those_of_qiskits_operators():
    wanted = evolve(STEP, ANGLES[0].numpy())[0]
    np.testing.assert_allclose(QuantumRecurrentLayer(STEP)(ANGLES)[0][0].numpy(), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "backend", [ShotBackend(20_000, seed=1), SamplerBackend(SamplerV2(), 20_000, seed=2)], ids=repr
)
def test_frequencies_pass_the_chi_square_test(backend):
    """Each step's counts against its exact marginal, at LEVEL for both steps together."""
    found = QuantumRecurrentLayer(STEP, backend=backend)(ANGLES)[0][0]
    wanted = evolve(STEP, ANGLES[0].numpy())[0]
    assert min(chi_square(n, p) for n, p in zip(found.numpy() * 20_000, wanted, strict=True)) > LEVEL / 2


@pytest.fixture(scope="module")
def exact() -> torch.Tensor:
    return gradient(ANGLES)[0]


estimators = pytest.mark.parametrize("kind", exported(), ids=lambda kind: kind.__name__)


@estimators
def test_every_estimator_finds_the_gradient(kind, exact):
    """Exact probabilities: the mean over COPIES samples within 4.5 of its standard errors; 14 slopes."""
    found = gradient(ANGLES.expand(COPIES, -1, -1), gradient=made(kind, 1e-3))
    error = found.std(0) / COPIES**0.5
    assert ((found.mean(0) - exact).abs() < 4.5 * error + 1e-5 * exact.norm()).all()


@estimators
def test_every_estimator_finds_the_gradient_from_shots(kind, exact):
    """The same from drawn shots, and from Aer, whose few samples are held against the spread of the drawn ones.

    Finite steps of 0.1 bias a slope by some 0.1**2, well inside these errors.
    """
    estimator, time_steps = made(kind, 0.1), ANGLES.shape[1]
    found = gradient(ANGLES.expand(COPIES, -1, -1), backend=ShotBackend(SHOTS, seed=3), gradient=estimator)
    spread = found.std(0)
    assert ((found.mean(0) - exact).abs() < 4.5 * spread / COPIES**0.5).all()
    few = max(4, 300 // estimator.circuits(StepProgram(STEP), time_steps))
    aer = gradient(ANGLES.expand(few, -1, -1), backend=SamplerBackend(SamplerV2(), SHOTS, seed=4), gradient=estimator)
    assert ((aer.mean(0) - exact).abs() < 4.5 * spread / few**0.5).all()
