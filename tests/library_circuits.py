"""Circuits of `qiskit.circuit.library` as steps: what users of a network lay over its two registers.

Old classes and new functions of one circuit are both here, for Qiskit builds them differently.  `CIRCUITS` and
`REFUSED` make a circuit when asked; `laid` makes a step of it.
"""

import warnings
from collections.abc import Callable

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit import library as lib
from qiskit.quantum_info import Pauli, SparsePauliOp, Statevector, random_clifford, random_unitary
from reference import registers

A, B = Parameter("a"), Parameter("b")
EDGES = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
COST = SparsePauliOp(["ZZI", "IZZ", "XXX"], [1.0, 0.5, -0.7])  # terms that commute: a product formula is exact


def of_gate(gate) -> QuantumCircuit:
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    return circuit


def blocks() -> QuantumCircuit:
    """NLocal with a circuit as its block."""
    block = QuantumCircuit(2)
    block.rxx(A, 0, 1)
    block.crz(B, 1, 0)
    return lib.NLocal(3, [lib.RYGate(A)], block, entanglement="linear", reps=1)


def overlap() -> QuantumCircuit:
    return lib.unitary_overlap(lib.real_amplitudes(3, reps=1), lib.efficient_su2(3, reps=1), prefix1="x", prefix2="y")


def grover() -> QuantumCircuit:
    oracle = QuantumCircuit(3)
    oracle.ccz(0, 1, 2)
    return lib.grover_operator(oracle)


def turned(angle) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rz(angle, 0)
    circuit.h(0)
    return circuit


CIRCUITS: dict[str, Callable[[], QuantumCircuit]] = {
    # variational circuits and feature maps
    "RealAmplitudes": lambda: lib.RealAmplitudes(4, reps=1),
    "real_amplitudes": lambda: lib.real_amplitudes(4, reps=2, entanglement="pairwise"),
    "EfficientSU2": lambda: lib.EfficientSU2(3, reps=1),
    "efficient_su2": lambda: lib.efficient_su2(4, reps=1, insert_barriers=True),
    "TwoLocal": lambda: lib.TwoLocal(3, ["ry", "rz"], "crx", entanglement="circular", reps=1),
    "NLocal": blocks,
    "n_local": lambda: lib.n_local(3, ["rx", "p"], "cry", reps=1),
    "ExcitationPreserving": lambda: lib.ExcitationPreserving(3, mode="fsim", reps=1),
    "excitation_preserving": lambda: lib.excitation_preserving(4, reps=1),
    "PauliTwoDesign": lambda: lib.PauliTwoDesign(3, reps=2, seed=1),
    "pauli_two_design": lambda: lib.pauli_two_design(3, reps=1, seed=2),
    "ZFeatureMap": lambda: lib.ZFeatureMap(3, reps=1),
    "z_feature_map": lambda: lib.z_feature_map(3, reps=2),
    "ZZFeatureMap": lambda: lib.ZZFeatureMap(3, reps=1),
    "zz_feature_map": lambda: lib.zz_feature_map(4, reps=2),
    "PauliFeatureMap": lambda: lib.PauliFeatureMap(3, reps=1, paulis=["Z", "YX"]),
    "pauli_feature_map": lambda: lib.pauli_feature_map(3, reps=1, paulis=["X", "ZZZ"]),
    "QAOAAnsatz": lambda: lib.QAOAAnsatz(COST, reps=1, flatten=True),
    "qaoa_ansatz": lambda: lib.qaoa_ansatz(COST, reps=2),
    "EvolvedOperatorAnsatz": lambda: lib.EvolvedOperatorAnsatz([COST, SparsePauliOp(["YII"])], reps=1),
    "evolved_operator_ansatz": lambda: lib.evolved_operator_ansatz([COST, SparsePauliOp(["IYZ"])], reps=1),
    "hamiltonian_variational_ansatz": lambda: lib.hamiltonian_variational_ansatz(COST, reps=1),
    "PauliEvolutionGate": lambda: of_gate(lib.PauliEvolutionGate(COST, A)),
    "Clifford": lambda: of_gate(random_clifford(3, seed=1)),
    "UnitaryOverlap": lambda: lib.UnitaryOverlap(lib.real_amplitudes(3, reps=1), lib.zz_feature_map(3, reps=1)),
    "unitary_overlap": overlap,
    # arithmetic
    "CDKMRippleCarryAdder": lambda: lib.CDKMRippleCarryAdder(2, "fixed"),
    "VBERippleCarryAdder": lambda: lib.VBERippleCarryAdder(2, "fixed"),
    "DraperQFTAdder": lambda: lib.DraperQFTAdder(2),
    "FullAdderGate": lambda: of_gate(lib.FullAdderGate(2)),
    "HalfAdderGate": lambda: of_gate(lib.HalfAdderGate(2)),
    "ModularAdderGate": lambda: of_gate(lib.ModularAdderGate(2)),
    "RGQFTMultiplier": lambda: lib.RGQFTMultiplier(1),
    "HRSCumulativeMultiplier": lambda: lib.HRSCumulativeMultiplier(1),
    "MultiplierGate": lambda: of_gate(lib.MultiplierGate(1)),
    "WeightedAdder": lambda: lib.WeightedAdder(2, [1, 2]),
    "IntegerComparator": lambda: lib.IntegerComparator(2, 2),
    "IntegerComparatorGate": lambda: of_gate(lib.IntegerComparatorGate(3, 5)),
    "QuadraticForm": lambda: lib.QuadraticForm(2, [[1, 0.5], [0.5, -1]], [1, 0], 1),
    "QuadraticFormGate": lambda: of_gate(lib.QuadraticFormGate(2, [[1, 0.5], [0.5, -1]], [0.7, 0], 1)),
    "LinearAmplitudeFunction": lambda: lib.LinearAmplitudeFunction(2, [0.5, 1], [0, 0.2], (0, 3), (0, 2), 0.1, [0, 2]),
    "LinearAmplitudeFunctionGate": lambda: of_gate(
        lib.LinearAmplitudeFunctionGate(2, [0.5], [0.1], (0, 3), (0, 2), 0.2)
    ),
    "LinearPauliRotations": lambda: lib.LinearPauliRotations(3, slope=0.4, offset=0.3),
    "LinearPauliRotationsGate": lambda: of_gate(lib.LinearPauliRotationsGate(3, 0.4, 0.3, basis="X")),
    "PolynomialPauliRotations": lambda: lib.PolynomialPauliRotations(2, [0.2, 0.5, -0.3]),
    "PolynomialPauliRotationsGate": lambda: of_gate(lib.PolynomialPauliRotationsGate(3, [0.2, 0.5, -0.3])),
    "PiecewiseLinearPauliRotations": lambda: lib.PiecewiseLinearPauliRotations(2, [0, 2], [0.3, -0.2], [0.1, 0.4]),
    "PiecewisePolynomialPauliRotations": lambda: lib.PiecewisePolynomialPauliRotations(2, [0, 2], [[0.3, 1], [0.5]]),
    "PiecewiseChebyshev": lambda: lib.PiecewiseChebyshev(np.sqrt, 1, [0, 2, 4], 2),
    "PiecewiseChebyshevGate": lambda: of_gate(lib.PiecewiseChebyshevGate(np.sqrt, 2, 1, [0, 4])),
    "ExactReciprocal": lambda: lib.ExactReciprocal(3, 0.5),
    "ExactReciprocalGate": lambda: of_gate(lib.ExactReciprocalGate(3, 0.25, neg_vals=True)),
    # Fourier transform, phase estimation, search, logic
    "QFT": lambda: lib.QFT(4, approximation_degree=1),
    "QFTGate": lambda: of_gate(lib.QFTGate(4)),
    "PhaseEstimation": lambda: lib.PhaseEstimation(3, turned(0.7)),
    "phase_estimation": lambda: lib.phase_estimation(2, turned(0.7)),
    "GroverOperator": lambda: lib.GroverOperator(grover()),
    "grover_operator": grover,
    "PhaseOracle": lambda: lib.PhaseOracle("x ^ (y & z)"),
    "PhaseOracleGate": lambda: of_gate(lib.PhaseOracleGate("(x & ~y) | z")),
    "BitFlipOracleGate": lambda: of_gate(lib.BitFlipOracleGate("(x & ~y) | z")),
    "AND": lambda: lib.AND(3, [1, 0, -1]),
    "OrGate": lambda: of_gate(lib.OrGate(3)),
    "XOR": lambda: lib.XOR(3, amount=5),
    "BitwiseXorGate": lambda: of_gate(lib.BitwiseXorGate(3, 6)),
    "InnerProduct": lambda: lib.InnerProduct(2),
    "InnerProductGate": lambda: of_gate(lib.InnerProductGate(2)),
    # hard to simulate, and benchmarks
    "IQP": lambda: lib.IQP([[6, 5, 3], [5, 4, 5], [3, 5, 1]]),
    "random_iqp": lambda: lib.random_iqp(3, seed=1),
    "HiddenLinearFunction": lambda: lib.HiddenLinearFunction([[1, 1, 0], [1, 0, 1], [0, 1, 1]]),
    "hidden_linear_function": lambda: lib.hidden_linear_function([[1, 1, 0], [1, 0, 1], [0, 1, 1]]),
    "FourierChecking": lambda: lib.FourierChecking([1, -1, -1, -1, 1, 1, -1, -1], [1, 1, -1, -1, -1, -1, -1, 1]),
    "fourier_checking": lambda: lib.fourier_checking([1, -1, -1, -1], [1, 1, -1, -1]),
    "QuantumVolume": lambda: lib.QuantumVolume(4, 2, seed=1),
    "quantum_volume": lambda: lib.quantum_volume(3, 2, seed=2),
    "GraphState": lambda: lib.GraphState(EDGES),
    "GraphStateGate": lambda: of_gate(lib.GraphStateGate(EDGES)),
    # gates on many qubits
    "GMS": lambda: lib.GMS(3, [[0, A, 0.3], [0, 0, B], [0, 0, 0]]),
    "MSGate": lambda: of_gate(lib.MSGate(4, A)),
    "GR": lambda: lib.GR(3, 0.7, 0.2),
    "GRX": lambda: lib.GRX(3, 0.7),
    "MCMT": lambda: lib.MCMT(lib.RYGate(A), 2, 2),
    "MCMTGate": lambda: of_gate(lib.MCMTGate(lib.RZGate(A), 2, 2)),
    "MCMTVChain": lambda: lib.MCMTVChain(lib.ZGate(), 2, 2),
    "MCPhaseGate": lambda: of_gate(lib.MCPhaseGate(A, 3, ctrl_state=5)),
    "MCXVChain": lambda: of_gate(lib.MCXGate(3)),
    "Permutation": lambda: lib.Permutation(4, [2, 0, 3, 1]),
    "PauliGate": lambda: of_gate(lib.PauliGate("XYZY")),
    "PauliProductRotationGate": lambda: of_gate(lib.PauliProductRotationGate(Pauli("XYZ"), A)),
    "Diagonal": lambda: lib.Diagonal(np.exp(1j * np.arange(8.0)).tolist()),
    "LinearFunction": lambda: of_gate(lib.LinearFunction([[1, 1, 0], [0, 1, 0], [1, 0, 1]])),
    "Isometry": lambda: of_gate(lib.Isometry(random_unitary(8, seed=3).data[:, :2], 0, 0)),
    "UCGate": lambda: of_gate(lib.UCGate([random_unitary(2, seed=s).data for s in range(4)])),
    "UCRYGate": lambda: of_gate(lib.UCRYGate([0.1, 0.7, -0.4, 1.3])),
    "HamiltonianGate": lambda: of_gate(lib.HamiltonianGate(np.diag([1.0, 2.0, -1.0, 0.5]), A)),
    "StatePreparation": lambda: of_gate(lib.StatePreparation(Statevector(np.arange(1.0, 9.0) / 204**0.5))),
    "UniformSuperpositionGate": lambda: of_gate(lib.UniformSuperpositionGate(5, 3)),
    "RC3XGate": lambda: of_gate(lib.RC3XGate()),
    "template_nct_4b_1": lib.template_nct_4b_1,
    "rzx_cy": lambda: lib.rzx_cy(A),
}

REFUSED: dict[str, tuple[Callable[[], QuantumCircuit], str]] = {
    "Initialize": (lambda: of_gate(lib.Initialize([0.6, 0, 0, 0.8])), "got gate 'initialize'"),
    "Reset": (lambda: of_gate(lib.Reset()), "got gate 'reset'"),
    "RVGate": (lambda: of_gate(lib.RVGate(A, 0.1, 0.2)), "got gate 'rv'"),
    "WeightedSumGate": (lambda: of_gate(lib.WeightedSumGate(2, [1, 2])), "got gate 'WeightedSum'"),  # no definition
    "Measure": (lambda: measured(lib.Measure()), "got 1 classical bits"),
    "PauliProductMeasurement": (lambda: measured(lib.PauliProductMeasurement(Pauli("XZ"))), "got 1 classical bits"),
}
"""What cannot be a step, and words of the error that says so."""


def measured(instruction) -> QuantumCircuit:
    circuit = QuantumCircuit(instruction.num_qubits, 1)
    circuit.append(instruction, circuit.qubits, circuit.clbits)
    return circuit


def made(make: Callable[[], QuantumCircuit]) -> QuantumCircuit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the old classes
        return make()


def laid(circuit: QuantumCircuit, *, flat: bool = True) -> QuantumCircuit:
    """The circuit over readout and memory, gate by gate or as one instruction, its qubits backwards, between
    rotations that turn what it does to phases into probabilities."""
    readout = max(1, circuit.num_qubits // 2)
    step = QuantumCircuit(*registers(max(1, circuit.num_qubits - readout), readout, False))
    if circuit.num_clbits:
        step.add_bits(circuit.clbits)
    places = range(circuit.num_qubits)[::-1]
    for qubit in range(step.num_qubits):
        step.ry(0.4 + 0.3 * qubit, qubit)
        step.rz(0.9 - 0.5 * qubit, qubit)
    if flat:
        step.compose(circuit, places, circuit.clbits or None, inplace=True)
    else:
        step.append(circuit.to_instruction(), places, circuit.clbits)
    for qubit in range(step.num_qubits):
        step.rx(0.8 - 0.2 * qubit, qubit)
    return step
