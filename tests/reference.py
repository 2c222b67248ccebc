"""What the quantum core is measured against: Qiskit's own operators on the full 2**n space.

Nothing here knows of Kraus blocks, gate families or fusing.  A step is the bound circuit as one
operator; its measurement and reset are the operators |0><r| on the readout qubits, outcome by
outcome, applied to the density matrix of *all* qubits.
"""

import weakref

import numpy as np
import torch
from hypothesis import strategies as st
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit import library as lib
from qiskit.quantum_info import DensityMatrix, Operator, random_unitary
from scipy.stats import chisquare
from torch.utils._python_dispatch import TorchDispatchMode

from qrnn_helpers.gradients import Autograd, ParameterShift
from qrnn_helpers.models import QuantumRecurrentLayer

LEVEL = 1e-3
"""Level of the chi-square tests.  Their seeds are fixed, so they pass always or never."""


def places(step: QuantumCircuit, name: str) -> list[int]:
    """Where a register's qubits stand in the circuit."""
    register = next(r for r in step.qregs if r.name == name)
    return [step.find_bit(qubit).index for qubit in register]


def full_state(step: QuantumCircuit, memory: np.ndarray | None = None) -> DensityMatrix:
    """The memory's density matrix (default |0...0>) beside |0...0> on the readout."""
    where, size = places(step, "memory"), 2**step.num_qubits
    rows = [sum(((m >> i) & 1) << q for i, q in enumerate(where)) for m in range(2 ** len(where))]
    rho = np.zeros((size, size), complex)
    rho[np.ix_(rows, rows)] = np.diag(np.eye(len(rows))[0]) if memory is None else memory
    return DensityMatrix(rho)


def memory_state(step: QuantumCircuit, rho: DensityMatrix) -> np.ndarray:
    """The memory's block of a state whose readout is |0...0>."""
    where = places(step, "memory")
    rows = [sum(((m >> i) & 1) << q for i, q in enumerate(where)) for m in range(2 ** len(where))]
    return rho.data[np.ix_(rows, rows)]


def branches(step: QuantumCircuit, rho: DensityMatrix, angles: np.ndarray) -> list[np.ndarray]:
    """One step: for each outcome r the unnormalised state after measuring r and resetting."""
    bound = step.assign_parameters(dict(zip(step.parameters, map(float, angles), strict=True)))
    rho = rho.evolve(Operator(bound))
    outcomes = 2 ** len(where := places(step, "readout"))
    found = []
    for r in range(outcomes):
        put_down = np.zeros((outcomes, outcomes))
        put_down[0, r] = 1.0  # |0><r|
        on_all = Operator(np.eye(2**step.num_qubits)).compose(Operator(put_down), qargs=where).data
        found.append(on_all @ rho.data @ on_all.conj().T)
    return found


def evolve(step: QuantumCircuit, angles: np.ndarray, memory: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Angles (time, P) -> probabilities (time, 2**readout), the memory's last density matrix."""
    rho, rows = full_state(step, memory), []
    for row in np.asarray(angles):
        found = branches(step, rho, row)
        rows.append([np.trace(part).real for part in found])
        rho = DensityMatrix(sum(found))
    return np.array(rows), memory_state(step, rho)


def joint(step: QuantumCircuit, angles: np.ndarray) -> np.ndarray:
    """Angles (time, P) -> probability of every history, flat; the first step's outcome leads."""
    states = [full_state(step).data]
    for row in np.asarray(angles):
        states = [s for rho in states for s in branches(step, DensityMatrix(rho), row)]
    return np.array([np.trace(s).real for s in states])


def shot_variance(step: QuantumCircuit, angles: np.ndarray, weights: np.ndarray, first: int = 0) -> float:
    """sigma**2: variance of one shot's readout sum_t w[t, r_t], t >= first; weights (time, 2**readout)."""
    chances = joint(step, angles)
    outcomes = np.array(np.unravel_index(np.arange(len(chances)), [len(row) for row in weights])).T
    values = sum(weights[t][outcomes[:, t]] for t in range(first, len(weights)))
    return float(chances @ values**2 - (chances @ values) ** 2)


def history_numbers(outcomes: np.ndarray, size: int) -> np.ndarray:
    """Outcomes (..., time) -> the number of each history in the order of `joint`."""
    return outcomes @ size ** np.arange(outcomes.shape[-1])[::-1]


def chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """p-value of Pearson's chi-square test; cells that expect fewer than 5 are thrown together."""
    expected = counts.sum() * probabilities / probabilities.sum()
    rare = expected < 5
    observed, wanted = counts[~rare], expected[~rare]
    if rare.any() and expected[rare].sum() > 0:
        observed = np.append(observed, counts[rare].sum())
        wanted = np.append(wanted, expected[rare].sum())
    else:
        assert counts[rare].sum() == 0, "an impossible outcome was seen"
    return float(chisquare(observed, wanted).pvalue) if len(wanted) > 1 else 1.0


# ---------------------------------------------------------------- random step circuits

ONE = ("rx", "ry", "rz", "p", "h", "u")
TWO = ("cx", "cz", "crx", "cry", "crz", "rxx", "rzz", "swap")
OTHERS = ("controlled", "controlled", "unitary", "barrier", "sub-circuit", "phase")
ANGLES = {"h": 0, "cx": 0, "cz": 0, "swap": 0, "u": 3, "unitary": 0, "barrier": 0, "sub-circuit": 2}

# Qiskit sorts t1, t10, t11, t2 by name, vector elements by index: neither is the gates' order.
POOL = [Parameter(f"t{i}") for i in (1, 10, 11, 2, 3)] + list(ParameterVector("s", 12))[:7]


@st.composite
def expressions(draw):
    """A Parameter, its multiple, a sum such as 2*a + b + 0.3, a product, a sine, a square, or a plain number."""
    a, b = draw(st.permutations(POOL))[:2]
    factor = draw(st.sampled_from([2, -1, 0.5, -1.7]))
    linear = [a, a, factor * a, factor * a + b + 0.3, 0.7]
    return draw(st.sampled_from([*linear, factor * a * b, (factor * a).sin() + b, a**2 / 3]))


def registers(memory: int, readout: int, memory_first: bool) -> list[QuantumRegister]:
    both = [QuantumRegister(memory, "memory"), QuantumRegister(readout, "readout")]
    return both if memory_first else both[::-1]


@st.composite
def step_circuits(draw, largest: int = 3):
    """A random step circuit with at least twelve Parameters, in gates and order of any kind."""
    size = st.integers(1, largest)
    step = QuantumCircuit(*registers(draw(size), draw(size), draw(st.booleans())))
    names = draw(st.lists(st.sampled_from(ONE + TWO + OTHERS), min_size=3, max_size=12))
    gates = [(name, [draw(expressions()) for _ in range(ANGLES.get(name, 1))]) for name in names]
    gates += [(draw(st.sampled_from(("rx", "ry", "crx"))), [p]) for p in POOL]
    for name, angles in draw(st.permutations(gates)):
        qubits = draw(st.permutations(range(step.num_qubits)))
        if name in ONE + TWO:
            getattr(step, name)(*angles, *qubits[: 2 if name in TWO else 1])
        elif name == "phase":
            step.global_phase += angles[0]
        else:
            gate = {"controlled": controlled, "unitary": unitary, "barrier": barrier, "sub-circuit": sub_circuit}[name]
            gate = draw(gate(angles, len(qubits)))
            step.append(gate, qubits[: gate.num_qubits])
    return step


@st.composite
def controlled(draw, angles, most):
    """A rotation with one to three controls, closed or open, annotated or not."""
    base = draw(st.sampled_from([lib.RXGate, lib.RYGate, lib.PhaseGate]))(*angles)
    controls = draw(st.integers(1, min(3, most - 1)))
    state = draw(st.integers(0, 2**controls - 1))
    return base.control(controls, ctrl_state=state, annotated=draw(st.booleans()))


def unitary(angles, most):
    return st.integers(0, 99).map(lambda seed: lib.UnitaryGate(random_unitary(2 ** min(most, 3), seed=seed)))


def barrier(angles, most):
    return st.just(lib.Barrier(most))


@st.composite
def sub_circuit(draw, angles, most):
    """Two gates and a phase, as instruction, gate, inverse or controlled gate."""
    circuit = QuantumCircuit(2, global_phase=angles[0])
    circuit.ry(angles[1], 0)
    circuit.crz(0.4, 0, 1)
    gate = circuit.to_gate()
    kinds = [circuit.to_instruction(), gate, gate.inverse(annotated=draw(st.booleans()))]
    if most > 2:
        kinds.append(gate.control(1, ctrl_state=draw(st.integers(0, 1)), annotated=draw(st.booleans())))
    return draw(st.sampled_from(kinds))


def random_angles(step: QuantumCircuit, batch: int, time: int, seed: int) -> torch.Tensor:
    """Angles (batch, time, P), normal with a spread of 1.5 radians."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, time, len(step.parameters))
    return 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)


def random_state(batch: int, size: int, seed: int) -> torch.Tensor:
    """Random density matrices (batch, size, size) of full rank."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn((batch, size, size), generator=generator, dtype=torch.complex128)
    rho = raw @ raw.mH
    return rho / rho.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]


def slopes_agree(step: QuantumCircuit, angles: torch.Tensor, seed: int = 1, atol: float = 1e-9) -> None:
    """Assert that the shift rule's slopes of a random linear readout are those of torch."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for estimator in (Autograd(), ParameterShift()):
        leaf = angles.clone().requires_grad_()
        probabilities, _ = QuantumRecurrentLayer(step, gradient=estimator)(leaf)
        if not found:
            weights = torch.randn(probabilities.shape, generator=generator, dtype=probabilities.dtype)
        if probabilities.requires_grad:
            (probabilities * weights).sum().backward()
        found.append(leaf.grad)
    if found[0] is not None:
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=atol)


class Peak(TorchDispatchMode):
    """Largest number of bytes that tensors made inside held at one time."""

    def __init__(self):
        super().__init__()
        self.live, self.now, self.most = {}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in self.live:
                self.live[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._freed, storage._cdata)
        return result

    def _freed(self, key: int) -> None:
        self.now -= self.live.pop(key, 0)
