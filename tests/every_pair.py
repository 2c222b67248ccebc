"""A forward and a backward pass of every backend with every estimator: what no state of the process may change.

As a program it prints a digest of each, for the process that started it: ``python every_pair.py [MODE ...]``.
"""

import hashlib
import json
import sys
from contextlib import ExitStack, contextmanager, nullcontext

import torch

MODES = {
    "plain": nullcontext,
    "float64 by default": lambda: default_dtype(torch.float64),
    "float16 by default": lambda: default_dtype(torch.float16),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "meta by default": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: deterministic(),
}


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic():
    """Uninitialised memory is filled with NaN, too."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def step():
    """Linear and curved angles, a constant gate, one gate alone and one under a control."""
    from qiskit import QuantumCircuit, QuantumRegister
    from qiskit.circuit import Parameter

    a, b, c = (Parameter(name) for name in "abc")
    circuit = QuantumCircuit(QuantumRegister(1, "memory"), QuantumRegister(1, "readout"))
    circuit.h(0)
    circuit.ry(a, 0)
    circuit.crx(2 * b + 0.3, 0, 1)
    circuit.rz(a * c, 0)
    circuit.rx(c, 1)
    circuit.rxx(b, 0, 1)
    return circuit


def backends() -> dict:
    from qiskit_aer.primitives import SamplerV2

    from qrnn_helpers import ExactBackend, MomentBackend, NoisyBackend, SamplerBackend, ShotBackend, SimpleNoise

    return {
        "exact": ExactBackend,
        "exact in complex64": lambda: ExactBackend(torch.complex64),
        "exact, noise of 0": lambda: NoisyBackend(SimpleNoise()),
        "shots": lambda: ShotBackend(20, seed=1),
        "moments": lambda: MomentBackend(20, seed=1),
        "moments in complex64": lambda: MomentBackend(20, 1, torch.complex64),
        "sampler": lambda: SamplerBackend(SamplerV2(seed=1), 20, seed=1),
    }


def estimators() -> dict:
    from qrnn_helpers import SPSA, Autograd, DirectionalShift, FiniteDifference, ParameterShift, RandomCoordinate

    return {
        "Autograd": Autograd,
        "shift": ParameterShift,
        "pruned shift": lambda: ParameterShift(prune=True),
        "SPSA": lambda: SPSA(seed=2, directions=2, causal=True),
        "coordinates": lambda: RandomCoordinate(4, seed=2),
        "differences": FiniteDifference,
        "directions": lambda: DirectionalShift(2, seed=2),
    }


def pairs() -> list[tuple[str, str]]:
    every = [(b, e) for b in backends() for e in estimators() if e != "Autograd" or b.startswith("exact")]
    return [pair for pair in every if pair != ("exact, noise of 0", "pruned shift")]


def leaf(dtype=torch.float64) -> torch.Tensor:
    """Angles (2, 3, 3) that no generator draws."""
    rows = torch.arange(18, dtype=torch.float64, device="cpu").mul(0.71).sin().mul(1.3).view(2, 3, 3)
    return rows.to(dtype).requires_grad_()


def weights(dtype=torch.float64) -> torch.Tensor:
    return torch.arange(12, dtype=torch.float64, device="cpu").mul(1.3).cos().view(2, 3, 2).to(dtype)


def run(backend, estimator, dtype=torch.float64, forward=nullcontext, backward=nullcontext):
    """Probabilities and slopes; ``forward`` is around the making of the layer, too."""
    from qrnn_helpers import QuantumRecurrentLayer

    angles, slopes = leaf(dtype), weights(dtype)
    with forward():
        layer = QuantumRecurrentLayer(step(), backend=backends()[backend](), gradient=estimators()[estimator]())
        probabilities, _ = layer(angles)
    with backward():
        probabilities.backward(slopes)
    return probabilities.detach(), angles.grad


def digest(results) -> str:
    return hashlib.sha256(b"".join(each.numpy().tobytes() for each in results)).hexdigest()


def digests(dtype=torch.float32) -> dict[str, str]:
    return {" with ".join(pair): digest(run(*pair, dtype)) for pair in pairs()}


if __name__ == "__main__":
    with ExitStack() as stack:
        for name in sys.argv[1:]:  # before the package is imported, as in a notebook's first cell
            stack.enter_context(MODES[name]())
        with torch.inference_mode():
            import qrnn_helpers  # noqa: F401
        print(json.dumps(digests()))
