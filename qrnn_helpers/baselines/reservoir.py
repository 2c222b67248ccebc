"""An echo-state network as a baseline."""

from __future__ import annotations

import numpy as np
import torch
from reservoirpy import mat_gen
from reservoirpy.nodes import Reservoir

from ..checks import check_bytes
from ..tasks import Fitted, Task
from .regression import ridge


def echo_state(
    task: Task, seed: int = 0, *, units: int, radius: float, leak: float, gain: float, penalty: float
) -> Fitted:
    """Echo-state network: h_t = (1 - leak) h_t-1 + leak tanh(W h_t-1 + V x_t + b), readout of h_t and x_t.

    W (units, units), V and b are drawn by reservoirpy and stay as they are: W, a tenth of it not 0, of
    spectral radius ``radius``, V uniform within +-``gain``, b within +-1.  The biases matter: without them
    all units are odd functions of the inputs, and u u_x is even.  Every window starts from h = 0.
    H. Jaeger, GMD Report 148 (2001).
    """
    windows, steps, inputs = task.train[0].shape
    check_bytes("units", 8 * units * (units + 2 * windows * steps), f"{units} for {windows} windows of {steps} steps")
    node = Reservoir(
        units,
        sr=radius,
        lr=leak,
        input_scaling=gain,
        seed=seed,
        input_dim=inputs,
        Win=mat_gen.uniform,
        input_connectivity=1.0,
        bias=mat_gen.uniform,
    )
    node.initialize(np.zeros(inputs))

    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.from_numpy(_states(node, x.numpy(), leak)), x], dim=-1)

    return ridge(task, features, penalty, f"{task.sees}, all steps so far")


def _states(node: Reservoir, x: np.ndarray, leak: float) -> np.ndarray:
    """States (windows, steps, units) for all windows at once; reservoirpy takes one after the other."""
    inner = node.W.toarray().T
    driven = x @ np.asarray(node.Win).T + np.asarray(node.bias).ravel()
    state = np.zeros(driven[:, 0].shape)
    states = []
    for drive in driven.swapaxes(0, 1):
        state = (1 - leak) * state + leak * np.tanh(state @ inner + drive)
        states.append(state)
    return np.stack(states, axis=1)
