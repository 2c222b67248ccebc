"""Qiskit Machine Learning's TorchConnector against our layer: 2 + 2 qubits, one step, batch 16, forward and backward.

Twelve angles of the step are inputs, the other fifteen are trained; both sides differentiate along all of them.
"""

import peers
import pytest
import torch
from cases import SHOTS, agree_in_shots, inputs

from qrnn_helpers import SPSA, ParameterShift, QuantumRecurrentLayer, ShotBackend, rotation_step

pytest.importorskip("qiskit_machine_learning")

STEP, BATCH, INPUTS = rotation_step(2, 2), 16, 12
RULES = {"shift": ParameterShift, "spsa": lambda: SPSA(c=0.1, seed=0)}


def ours(x, own, weights, layer):
    x, own = x.clone().requires_grad_(), own.clone().requires_grad_()

    def call():
        angles = torch.cat([x, own.expand(len(x), -1)], -1)
        probabilities = layer(angles[:, None])[0][:, 0]
        slopes = torch.autograd.grad((probabilities * weights).sum(), (x, own))
        return probabilities.detach(), *slopes

    return call


@pytest.mark.parametrize("side", ["ours", pytest.param("qiskit", marks=pytest.mark.aer)])
@pytest.mark.parametrize("rule", RULES)
def bench_connector(measure, side, rule):
    angles, (weights,) = inputs(STEP, BATCH, 1)
    x, own = angles[:, 0, :INPUTS], angles[0, 0, INPUTS:]
    exact, *slopes = ours(x, own, weights, QuantumRecurrentLayer(STEP))()
    if side == "ours":
        layer = QuantumRecurrentLayer(STEP, backend=ShotBackend(SHOTS, 0), gradient=RULES[rule]())
        call = ours(x, own, weights, layer)
        case, note = "torchconnector/ours" + "-spsa" * (rule == "spsa"), f"ShotBackend, {layer.gradient}"
    else:
        call = peers.torch_connector(STEP, x, own, weights, rule)
        case, note = f"torchconnector/{rule}", f"SamplerQNN on Aer's SamplerV2, sampler gradient: {rule}"
    found, *estimates = call()
    agree_in_shots(found, exact)
    if rule == "shift":  # one gate's terms have squared coefficients of at most 1/2 in sum, a shot at most range / 2
        error = 0.5**0.5 * (weights.max() - weights.min()) / 2 / SHOTS**0.5
        for estimate, slope, samples in zip(estimates, slopes, (1, BATCH), strict=True):
            assert ((estimate - slope).abs() <= 5 * error * samples**0.5).all()
    rounds = 3 if case == "torchconnector/shift" else None
    measure(case, call, "call", note=f"{note}; forward and backward, {SHOTS} shots", seconds=2, rounds=rounds)
