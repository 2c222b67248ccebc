"""Quantum trajectories: drawn shots followed as pure memory states from step to step.

A shot in the state psi of the memory has outcome r with probability |K_r psi|^2 and goes on in K_r psi, normalised
(Dalibard, Castin and Molmer 1992), so that outcomes at different times are correlated as on a device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from ..torch_modes import indices_of
from .channel import channel_step
from .streams import Streams, drawn

MANY = 2**17
"""Numbers in all branches of all shots of a circuit from which on it pays to give every shot a state of its own, if
it has this many outcomes at least:"""

OUTCOMES = 16

FLOOR = 16
"""Rounding units below which a probability counts as 0: what can only be by rounding has no state to go on in."""

Drawn = tuple[Tensor, Tensor]  # outcome and branch of every shot of every circuit, (circuits * shots,)


def outcomes(kraus: Tensor, shots: int, generator: Generator | Streams, rho: Tensor | None = None) -> Iterator[Drawn]:
    """For each time step the outcome of every shot, circuit after circuit, and its *branch*: in the next step the
    shots stand in the order of their branches.

    The start is |0...0>, or a mixed state ``rho`` (circuits, 2**memory, 2**memory): each shot then starts from one
    of its eigenstates.
    """
    time_steps, count, size, _ = kraus.shape[1:]
    soon_alone = count ** (time_steps // 2) >= shots
    alone = count >= OUTCOMES and count * size * shots >= MANY and soon_alone
    return (_each_alone if alone else _by_history)(kraus, shots, generator, rho)


@torch.no_grad()
def _by_history(kraus: Tensor, shots: int, generator: Generator | Streams, rho: Tensor | None) -> Iterator[Drawn]:
    """Shots of one history share a state.

    A node is a history that occurred so far; ``states`` (circuits, nodes, 2**memory) holds its pure
    memory state (zero rows fill up) and ``node`` says on which node each shot sits.  The nodes of the
    next step are the branches with a shot, in order.
    """
    circuits, time_steps, count, size, _ = kraus.shape
    states, node = _start(kraus, shots, generator, rho)
    buffer = _Buffer(kraus)
    for t, operators in enumerate(kraus.unbind(1)):
        draws = _draws(kraus, len(node), generator)
        branches = _products(states, operators, buffer).view(-1, size)
        weights = _squares(branches).view(-1, count)
        outcome = _pick(_edges(weights), node, draws)
        branch = node * count + outcome
        yield outcome, branch
        if t + 1 < time_steps:
            states, node = _nodes(branches, weights.view(-1), branch, circuits)


@torch.no_grad()
def _each_alone(kraus: Tensor, shots: int, generator: Generator | Streams, rho: Tensor | None) -> Iterator[Drawn]:
    """Every shot has a state of its own, (circuits * shots, M): for many outcomes, whose histories soon differ.

    A shot first draws one of a few *parts* of the outcomes and then one of that part's, so that its state need not
    meet the other parts' Kraus operators.
    """
    circuits, _, count, size, _ = kraus.shape
    parts = 2 ** (count.bit_length() // 2)
    each = count // parts
    states, node = _start(kraus, shots, generator, rho)
    states = states.reshape(-1, size).index_select(0, node)
    first = _repeated(kraus, shots) * parts
    buffers = _Buffer(kraus), _Buffer(kraus)
    for operators in kraus.unbind(1):
        operators = operators.reshape(circuits, parts, -1, size)
        draws = _draws(kraus, len(node), generator)
        shares = _shares(states.view(circuits, shots, size), operators, *buffers)
        part, draws = _pick_part(shares, draws)
        branches, seat = _group_products(states, operators.flatten(0, 1), first + part, buffers[0])
        weights = _squares(branches).view(-1, each)
        outcome = _pick(_edges(weights), seat, draws)
        yield part * each + outcome, indices_of(node)
        chosen = seat * each + outcome
        states = _normalise(branches.index_select(0, chosen), weights.view(-1).index_select(0, chosen))


class _Buffer:
    """A tensor of any shape, taken once: large ones are fetched anew from the operating system every time."""

    def __init__(self, like: Tensor):
        self.numbers = like.new_empty(0)

    def __call__(self, *shape: int) -> Tensor:
        count = math.prod(shape)
        if len(self.numbers) < count:
            self.numbers = self.numbers.new_empty(count)
        return self.numbers[:count].view(shape)


def _products(states: Tensor, operators: Tensor, buffer: _Buffer) -> Tensor:
    """Operators (circuits, K, M, M) times states (circuits, S, M), as (circuits, S, K * M)."""
    rows = operators.flatten(1, 2)
    return torch.bmm(states, rows.mT, out=buffer(*states.shape[:2], rows.shape[1]))


def _shares(states: Tensor, operators: Tensor, buffer: _Buffer, overlaps: _Buffer) -> Tensor:
    """The probability of each part of the outcomes for states (circuits, shots, M), as (circuits * shots, parts);
    ``operators`` (circuits, parts, ..., M) are the parts' Kraus operators.

    That of a part is <state| sum_r K_r^+ K_r |state>; the last one is what is left.
    """
    size = states.shape[-1]
    few = operators[:, :-1]
    forms = few.mH @ few
    products = _products(states, forms, buffer).unflatten(2, (-1, size))
    squares = torch.view_as_real(overlaps(*products.shape))
    torch.mul(torch.view_as_real(states[:, :, None]), torch.view_as_real(products), out=squares)
    shares = (squares.flatten(-2) @ squares.new_ones(2 * size)).flatten(0, 1)
    shares = torch.cat([shares, 1 - shares.sum(1, keepdim=True)], 1)
    # What rounding cannot tell from 0 is 0: a shot there would have no state to go on with.
    return torch.where(shares > 2 * size * torch.finfo(shares.dtype).eps, shares, 0)


def _pick_part(shares: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """A part for every shot, and what of its draw is left for an outcome of that part."""
    edges = _edges(shares)
    part = torch.searchsorted(edges, draws[:, None], right=True)
    low = pad(edges, (1, 0)).gather(1, part)
    high = edges.gather(1, part)
    left = (draws[:, None] - low) / (high - low)
    return part[:, 0], left[:, 0].clamp_max(1 - torch.finfo(draws.dtype).eps)


def _group_products(states: Tensor, operators: Tensor, group: Tensor, buffer: _Buffer) -> tuple[Tensor, Tensor]:
    """States (shots, M) times the Kraus operators (groups, ..., M) of their groups, group after group, and where each
    shot's products are."""
    order = group.argsort()
    sizes = torch.bincount(group, minlength=len(operators)).tolist()
    products = buffer(len(order), operators.shape[1])
    for members, rows, out in zip(states.index_select(0, order).split(sizes), operators, products.split(sizes)):
        torch.mm(members, rows.mT, out=out)
    seat = torch.empty_like(order).scatter_(0, order, indices_of(order))
    return products.view(-1, states.shape[1]), seat


def _repeated(kraus: Tensor, shots: int) -> Tensor:
    """The circuit of every shot."""
    return indices_of(kraus).repeat_interleave(shots)


def _start(kraus: Tensor, shots: int, generator: Generator | Streams, rho: Tensor | None) -> tuple[Tensor, Tensor]:
    """States and the node of every shot before the first step."""
    circuits, size = len(kraus), kraus.shape[-1]
    node = _repeated(kraus, shots)
    if rho is None:
        return torch.eye(1, size, dtype=kraus.dtype, device=kraus.device).expand(circuits, 1, size), node
    weights, vectors = torch.linalg.eigh(rho)
    drawn = node * size + _pick(_edges(weights.clamp_min(0)), node, _draws(kraus, len(node), generator))
    vectors = vectors.mT.flatten(0, 1)
    return _nodes(vectors, torch.ones_like(vectors[:, 0].real), drawn, circuits)


def _draws(kraus: Tensor, count: int, generator: Generator | Streams) -> Tensor:
    """Uniform on [0, 1), one for every shot."""
    return drawn(torch.rand, (count,), generator, kraus.real.dtype).to(kraus.device)


def _squares(states: Tensor) -> Tensor:
    """Squared norms of states (nodes, M)."""
    return torch.linalg.vector_norm(torch.view_as_real(states).flatten(1), dim=1).square()


def _normalise(states: Tensor, squares: Tensor) -> Tensor:
    """States (nodes, M) with their squared norms set to 1, in place; as real numbers, which takes a tenth the time."""
    torch.view_as_real(states).div_(squares.sqrt()[:, None, None])
    return states


def _edges(weights: Tensor) -> Tensor:
    """Where in [0, 1] each outcome ends, (nodes, outcomes), for weights (nodes, outcomes)."""
    edges = weights.cumsum(1)
    return edges / edges[:, -1:]


def _pick(edges: Tensor, node: Tensor, draws: Tensor) -> Tensor:
    """The outcome for every shot on the nodes ``node``."""
    return torch.searchsorted(edges.index_select(0, node), draws[:, None], right=True)[:, 0]


def _nodes(branches: Tensor, weights: Tensor, branch: Tensor, circuits: int) -> tuple[Tensor, Tensor]:
    """States (circuits, nodes, M) of the branches that occurred, normalised and closed up, and the node of every
    shot."""
    counts = torch.bincount(branch, minlength=len(weights))
    occurred = counts.nonzero()[:, 0]
    circuit = torch.arange(circuits + 1, dtype=torch.int64, device=occurred.device)
    starts = torch.searchsorted(occurred, circuit * (len(weights) // circuits))
    sizes = starts.diff()
    width = int(sizes.max())
    place = indices_of(occurred)
    place += (circuit * width - starts)[:-1].repeat_interleave(sizes)
    states = branches.new_zeros(circuits * width, branches.shape[1])
    states[place] = _normalise(branches.index_select(0, occurred), weights.index_select(0, occurred))
    return states.view(circuits, width, -1), place.repeat_interleave(counts.index_select(0, occurred))


def mean_and_shot(kraus: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """p (circuits, time, R), and the outcomes (circuits, time) of one shot of each circuit, from |0...0>.

    ``uniform`` (circuits, time): what the outcomes are drawn by, in [0, 1).
    """
    circuits, size = len(kraus), kraus.shape[-1]
    shot = torch.zeros(circuits, size, 1, dtype=kraus.dtype, device=kraus.device)
    shot[:, 0] = 1
    rho, every = shot @ shot.mH, indices_of(kraus)
    probabilities, drawn_outcomes = [], []
    for operators, draws in zip(kraus.unbind(1), uniform.unbind(1), strict=True):
        mean, rho = channel_step(operators, rho)
        branches = operators.detach() @ shot[:, None]
        outcome = picked(torch.view_as_real(branches).square().sum((2, 3, 4)).T, draws)
        shot = branches[every, outcome]
        shot = shot / shot.norm(dim=1, keepdim=True)
        probabilities.append(mean)
        drawn_outcomes.append(outcome)
    return torch.stack(probabilities, 1), torch.stack(drawn_outcomes, 1)


def picked(weights: Tensor, uniform: Tensor) -> Tensor:
    """The outcome (N,) that uniform numbers (N,) in [0, 1) pick from probabilities (R, N)."""
    lowest = FLOOR * torch.finfo(weights.dtype).eps
    edges = weights.double().masked_fill(weights < lowest, 0).cumsum(0)
    # A double below 1 times the last edge is below that edge after rounding, too: an outcome of probability 0 that
    # comes last is not picked.
    return (edges[:-1] <= uniform * edges[-1]).sum(0)
