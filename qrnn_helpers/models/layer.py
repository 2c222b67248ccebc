"""The quantum recurrent layer as a torch module."""

from __future__ import annotations

from typing import Any

import torch
from qiskit import QuantumCircuit
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.autograd.function import once_differentiable

from ..backends import Backend, CostLedger, ExactBackend, Executor
from ..checks import check_bytes, check_count, check_instance, check_integer, check_tensor, usable
from ..gradients import Ask, Autograd, GradientEstimator, ParameterShift, Passes, WeightSPSA, in_one_job
from ..simulation import StepProgram, Streams
from ..torch_modes import constant, settled
from .encoded import EncoderEstimated

Encoder = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Weight (R, P, input), bias (R, P) and input x (R * batch, time, input) that the angles come from."""


class QuantumRecurrentLayer(nn.Module):
    """A step circuit repeated over time, its memory coherent, its readout measured and reset.

    ``forward(angles, state=None) -> (probabilities, state)``: angles (batch, time, P) in any floating
    dtype, ``angles[..., k]`` for ``step.parameters[k]``; probabilities (batch, time, 2**readout) in the
    same dtype, each step's marginal over all others; state (batch, 2**memory, 2**memory), the memory's
    density matrix, |0...0> at the start (None from a backend that cannot show it).

    ``backend`` says where circuits run (default `ExactBackend`), ``gradient`` how they are
    differentiated (default `Autograd` on the exact backend, `ParameterShift` elsewhere).  Only
    `Autograd` differentiates through a state.  ``encoder`` is for networks: where their angles come from, which
    `WeightSPSA` asks.  ``cost`` is the layer's `CostLedger`.

    A ``state_dict`` holds the states of the backend's and the estimator's generators, so that training
    goes on from it bit for bit; they go only to a backend or estimator of the same class, and overrule its
    seed.  Should a backward pass fail (a lost job), torch may already have added to the ``.grad`` of what stands
    behind this layer, such as the decoder: call ``zero_grad`` and repeat the forward pass, too.
    """

    def __init__(
        self, step: QuantumCircuit, *, backend: Backend | None = None, gradient: GradientEstimator | None = None
    ):
        super().__init__()
        self.program = StepProgram(step)
        backend = ExactBackend() if backend is None else backend
        self.backend = check_instance("backend", backend, Backend, "a Backend such as ExactBackend()")
        exact = isinstance(self.backend, ExactBackend)
        if gradient is None:
            gradient = Autograd() if exact else ParameterShift()
        self.gradient = check_instance("gradient", gradient, GradientEstimator, "a GradientEstimator such as SPSA()")
        if isinstance(gradient, Autograd) and not exact:
            raise ValueError(f"gradient must not be Autograd() off the exact backend; got backend {self.backend!r}")
        # A gate without a rule is refused here, not in training.
        check_integer("gradient's number of circuits", gradient.circuits(self.program, 1), minimum=0)
        self.cost = CostLedger()

    def forward(
        self, angles: torch.Tensor, state: torch.Tensor | None = None, *, encoder: Encoder | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        check_tensor("angles", angles, ("batch", "time", len(self.program.parameters)))
        if state is not None:
            size = 2**self.program.memory
            check_tensor("state", state, (angles.shape[0], size, size), complex_too=True)
        if torch.compiler.is_compiling():
            # Nothing for a compiler: circuits go to a backend, are billed, and are no tensor program.  (Asked for
            # here, as a decorator would have every process load the compiler.)
            return torch.compiler.disable(self._run)(angles, state, encoder)
        return self._run(angles, state, encoder)

    def _run(
        self, angles: torch.Tensor, state: torch.Tensor | None, encoder: Encoder | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """All in float64: in the angles' own dtype, sums and differences of angles would be rounded."""
        with settled(angles.device):
            wide = usable(angles).to(torch.float64)
            start = None if state is None else usable(state)
            streams = getattr(self.backend, "generator", None)
            runs = streams.runs(len(angles)) if isinstance(streams, Streams) else None
            executor = Executor(self.program, self.backend, self.cost, start, runs)
            recorded = torch.is_grad_enabled() and wide.requires_grad
            passes = Passes(executor, self.gradient, recorded and in_one_job(self.backend, self.gradient))
            if isinstance(self.gradient, Autograd):
                probabilities, final = executor.forward(wide)
            elif isinstance(self.gradient, WeightSPSA):
                probabilities, final = _of_encoder(encoder, wide, passes), None
            else:
                start = None if start is None else start.detach()
                probabilities, final = _Estimated.apply(wide, start, passes)
            return probabilities.to(angles.dtype), final

    def update_circuits(self, batch: int, time_steps: int) -> int:
        """Circuits, at most, of one forward and one backward pass over a batch."""
        batch = check_count("batch", batch)
        time_steps = check_count("time_steps", time_steps)
        return batch * (1 + self.gradient.circuits(self.program, time_steps))

    def get_extra_state(self) -> torch.Tensor:
        """States of the generators, by owner, in one tensor of bytes (those of a safetensors file).

        torch keeps it in the ``state_dict`` under ``_extra_state``.  Whatever backend or estimator has an
        attribute ``generator``, a torch.Generator, is covered; without any the tensor is empty.
        """
        states = {owner: generator.get_state() for owner, generator in self._generators().items()}
        return torch.frombuffer(bytearray(save(states)), dtype=torch.uint8) if states else _no_state()

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Give back the generators' states, where the owner is of the class and on the kind of device that had them."""
        states = _unpacked(state)
        for owner, generator in self._generators().items():
            if owner in states and states[owner].shape == generator.get_state().shape:
                generator.set_state(states[owner])

    def _generators(self) -> dict[str, torch.Generator]:
        """The generators of backend and estimator, by role and class of their owner."""
        generators = {}
        for role, owner in {"backend": self.backend, "gradient": self.gradient}.items():
            generator = getattr(owner, "generator", None)
            if isinstance(generator, torch.Generator):
                generators[f"{role} {type(owner).__name__}"] = generator
        return generators

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """torch's own, where a state_dict of before there was an extra state (weights alone) is complete, too."""
        state_dict.setdefault(prefix + "_extra_state", _no_state())
        super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        program = self.program
        return (
            f"memory={program.memory}, readout={program.readout}, angles={len(program.parameters)}, "
            f"backend={self.backend!r}, gradient={self.gradient!r}"
        )


def _no_state() -> torch.Tensor:
    """The extra state of a layer without generators."""
    return constant([], torch.uint8)


def _unpacked(state: torch.Tensor) -> dict[str, torch.Tensor]:
    """The generators' states, by owner, in an extra state."""
    allowed = "_extra_state must be the tensor of get_extra_state"
    check_instance("_extra_state", state, torch.Tensor, "the tensor of get_extra_state")
    if state.layout != torch.strided or state.is_meta or state.is_complex() or state.is_quantized:
        raise TypeError(f"{allowed}; got {state.dtype} on {state.device}")
    check_bytes("_extra_state", state.numel(), f"{state.numel()} bytes")
    content = state.to("cpu", torch.uint8).numpy().tobytes()  # also after a cast of the whole state_dict
    try:
        return load(content) if content else {}
    except SafetensorError as error:
        raise ValueError(f"{allowed}; got a damaged one: {error}") from error


def _of_encoder(encoder: Encoder | None, angles: torch.Tensor, passes: Passes) -> torch.Tensor:
    """The outcomes of angles that come from an encoder, whose weights the estimator moves."""
    if encoder is None or passes.executor.state is not None:
        raise ValueError("gradient must not be WeightSPSA in a layer without an encoder, or with a state")
    weight, bias, x = encoder
    return EncoderEstimated.apply(weight, bias, usable(x), angles.detach(), passes)


class _Estimated(torch.autograd.Function):
    """Forward: run the circuits.  Backward: ask the estimator, which runs circuits of its own, or ran them along.

    What the way back needs, angles and state, is saved by torch, which refuses what was changed in between.
    """

    @staticmethod
    def forward(
        ctx: Any, angles: torch.Tensor, state: torch.Tensor | None, passes: Passes
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        probabilities, final = passes.forward(angles, _of_angles(angles))
        ctx.save_for_backward(angles, state)
        passes.executor.state = None  # torch keeps it
        ctx.passes = passes
        if final is not None:
            ctx.mark_non_differentiable(final)
        return probabilities, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: torch.Tensor, _: Any) -> tuple[torch.Tensor, None, None]:
        angles, state = ctx.saved_tensors
        with settled(angles.device):
            gradient = ctx.passes.backward(weights, _of_angles(angles), state)
        _check_gradient(gradient, angles)
        return gradient, None, None


def _of_angles(angles: torch.Tensor) -> Ask:
    """How the gradient along these angles is asked for."""
    return lambda gradient, executor, weights: gradient.estimate(executor, angles, weights)


def _check_gradient(gradient: torch.Tensor, angles: torch.Tensor) -> None:
    """What an estimator has answered: a reader's own may answer anything."""
    allowed = f"an estimator that answers a real tensor of shape {tuple(angles.shape)}"
    check_instance("gradient", gradient, torch.Tensor, allowed)
    if gradient.shape != angles.shape or gradient.is_complex():
        raise ValueError(f"gradient must be {allowed}; got {gradient.dtype} of shape {tuple(gradient.shape)}")
