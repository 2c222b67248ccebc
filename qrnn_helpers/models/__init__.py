"""Torch modules: the quantum recurrent layer, the hybrid network, classical recurrent networks."""

from .layer import QuantumRecurrentLayer
from .qrnn import QRNN
from .rnn import GRU, RNN
from .stack import StackedQRNN

__all__ = [
    "GRU",
    "QRNN",
    "QuantumRecurrentLayer",
    "RNN",
    "StackedQRNN",
]
