"""What a Qiskit sampler runs on: its device, the passes that fit it, and noise that circuits may miss."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Barrier, Delay, Measure, Reset
from qiskit.primitives import BaseSamplerV2
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager

from ..checks import shown
from .transpiled import BASIS

Gate = tuple[str, tuple[int, ...]]
"""A gate's name (or label) and its qubits."""


def device(sampler: BaseSamplerV2) -> Any:
    """The Qiskit backend that a sampler runs on, or None if it does not say: ``backend`` of `BackendSamplerV2`,
    ``backend()`` of IBM's runtime, ``_backend`` of Aer."""
    for name in ("backend", "_backend"):
        backend = getattr(sampler, name, None)
        backend = backend() if callable(backend) else backend
        if isinstance(backend, BackendV2):
            return backend
    return None


def noise_model(sampler: BaseSamplerV2) -> Any:
    """Aer's noise model, of the run or of the simulator, or None."""
    options = getattr(getattr(sampler, "options", None), "run_options", None) or {}
    simulator = getattr(device(sampler), "options", None)
    return options.get("noise_model") or getattr(simulator, "noise_model", None)


def noisy_gates(noise: Any) -> set[str]:
    """Names and labels of the gates that a noise model is about."""
    return set(noise.noise_instructions) - {"measure", "reset", "delay"}


def default_pass_manager(sampler: BaseSamplerV2) -> PassManager | None:
    """Qiskit's preset at level 1 for the sampler's device or noise; None for a simulator that runs everything."""
    return fitting_pass_manager(getattr(device(sampler), "target", None), noise_model(sampler))


def fitting_pass_manager(target: Any, noise: Any) -> PassManager | None:
    """The same for a device's target, None if there is none, and a noise model."""
    if target is not None and target.build_coupling_map() is not None:
        return _preset(target=target)
    if noise is not None:
        return _preset(basis_gates=noise.basis_gates) if noisy_gates(noise) else None
    if target is not None and not target.operation_names >= set(BASIS):
        return _preset(target=target)
    return None


def _preset(**options: Any) -> PassManager:
    return generate_preset_pass_manager(1, seed_transpiler=0, **options)


def unmet_noise(noise: Any, circuit: QuantumCircuit) -> str:
    """What to say of noisy gates that the circuit does not have, or not where they are noisy; "" if nothing.

    A circuit need not have every noisy gate.  But it should have one of them, none at places without noise alone, and
    no gate that the noise model does not know while other noisy gates are missing: there it is written otherwise.
    """
    gates = _gates_of(circuit)
    places = _noisy_places(noise)
    names = {name for name, _ in gates}
    noisy = {name for name, qubits in gates if places[name] & {(), qubits}}
    missing = noisy_gates(noise) - noisy
    foreign = names - set(noise.basis_gates) - noisy
    is_written_so = noisy and not foreign and not names & missing
    if not missing or not names or is_written_so:
        return ""
    return (
        f"The sampler's noise model has noise on {shown(sorted(missing))} that the circuit never meets: it runs "
        f"{shown(sorted(names))}, noisy of these {shown(sorted(noisy))}. Aer goes by a gate's name and qubits; a "
        "pass_manager to the noise model's basis_gates helps"
    )


def _gates_of(circuit: QuantumCircuit) -> set[Gate]:
    gates = [each for each in circuit.data if not isinstance(each.operation, Barrier | Delay | Measure | Reset)]
    return {(each.label or each.name, tuple(circuit.find_bit(qubit).index for qubit in each.qubits)) for each in gates}


def _noisy_places(noise: Any) -> defaultdict[str, set[tuple[int, ...]]]:
    """Qubits of the noisy gates by name; () stands for all qubits."""
    places: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)
    for error in noise.to_dict()["errors"]:
        for name in error["operations"]:
            places[name].update(map(tuple, error.get("gate_qubits", [()])))
    return places
