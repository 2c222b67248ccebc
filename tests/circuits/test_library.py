"""Circuits of Qiskit's library as steps, against density matrices of all qubits."""

import numpy as np
import pytest
import torch
from library_circuits import CIRCUITS, REFUSED, laid, made
from reference import LEVEL, chi_square, evolve, random_angles, slopes_agree

from qrnn_helpers import QuantumRecurrentLayer, ShotBackend
from qrnn_helpers.simulation import StepProgram

pytestmark = pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")

SHOTS = 2_000


@pytest.mark.parametrize("name", CIRCUITS)
def test_library_circuits_as_steps(name):
    """Exact probabilities and states, gate by gate and as one instruction; drawn shots; the shift rule's slopes."""
    circuit = made(CIRCUITS[name])
    step, whole = laid(circuit), laid(circuit, flat=False)
    angles = random_angles(step, 1, 2, seed=1)
    wanted, memory = evolve(step, angles[0].numpy())
    for form in (step, whole):
        assert form.parameters == step.parameters
        found, last = QuantumRecurrentLayer(form)(angles)
        np.testing.assert_allclose(found[0], wanted, rtol=0, atol=1e-10)
        np.testing.assert_allclose(last[0], memory, rtol=0, atol=1e-10)
    drawn = QuantumRecurrentLayer(step, backend=ShotBackend(SHOTS, seed=1))(angles)[0][0]
    level = min(chi_square(n, p) for n, p in zip((drawn * SHOTS).numpy(), wanted, strict=True))
    assert level > LEVEL / 2 / len(CIRCUITS)
    if step.parameters and step.num_qubits <= 3:
        slopes_agree(whole, torch.cat([angles, angles + 0.3]))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("flat", [True, False], ids=["gate by gate", "instruction"])
def test_what_cannot_be_a_step_is_named(name, flat):
    make, words = REFUSED[name]
    with pytest.raises(ValueError, match=f"step: {words}"):
        StepProgram(laid(made(make), flat=flat))
