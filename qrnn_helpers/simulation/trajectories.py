"""Quantum trajectories: drawn shots followed as pure memory states from step to step.

A shot in the state psi of the memory has outcome r with probability |K_r psi|^2 and goes on in K_r psi, normalised
(Dalibard, Castin and Molmer 1992), so that outcomes at different times are correlated as on a device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn.functional import pad

__all__ = ["outcomes"]


MANY = 2**17
"""Numbers in all branches of all shots of a circuit from which on it pays to give every shot a state of its own, if
it has this many outcomes at least:"""

OUTCOMES = 16

Drawn = tuple[torch.Tensor, torch.Tensor]  # outcome and branch of every shot of every circuit, (circuits * shots,)


def outcomes(
    kraus: torch.Tensor, shots: int, generator: torch.Generator, rho: torch.Tensor | None = None
) -> Iterator[Drawn]:
    """For each time step the outcome of every shot, circuit after circuit, and its *branch*: in the next step the
    shots stand in the order of their branches.

    The start is |0...0>, or a mixed state ``rho`` (circuits, 2**memory, 2**memory): each shot then starts from one
    of its eigenstates.
    """
    time_steps, many, size, _ = kraus.shape[1:]
    soon_alone = many ** (time_steps // 2) >= shots
    singly = many >= OUTCOMES and many * size * shots >= MANY and soon_alone
    return (_singly if singly else _shared)(kraus, shots, generator, rho)


@torch.no_grad()
def _shared(kraus: torch.Tensor, shots: int, generator: torch.Generator, rho: torch.Tensor | None) -> Iterator[Drawn]:
    """Shots of one history share a state.

    A node is a history that occurred so far; ``states`` (circuits, nodes, 2**memory) holds its pure
    memory state (zero rows fill up) and ``node`` says on which node each shot sits.  The nodes of the
    next step are the branches with a shot, in order.
    """
    circuits, time_steps, outcomes, size, _ = kraus.shape
    states, node = _start(kraus, shots, generator, rho)
    room = _Room(kraus)
    for t in range(time_steps):
        draws = _draws(kraus, len(node), generator)
        moved = room(0, *states.shape[:2], outcomes * size)
        moved = torch.bmm(states, kraus[:, t].flatten(1, 2).mT, out=moved).view(-1, size)
        weights = _squares(moved).view(-1, outcomes)
        outcome = _pick(_edges(weights), node, draws)
        branch = node * outcomes + outcome
        yield outcome, branch
        if t + 1 < time_steps:
            states, node = _grow(moved, weights.view(-1), branch, circuits)


@torch.no_grad()
def _singly(kraus: torch.Tensor, shots: int, generator: torch.Generator, rho: torch.Tensor | None) -> Iterator[Drawn]:
    """Every shot has a state of its own, (circuits, shots, M): for many outcomes, whose histories soon differ.

    A shot first draws one of a few *parts* of the outcomes and then one of that part's, so that its state need not
    meet the other parts' Kraus operators.
    """
    circuits, time_steps, outcomes, size, _ = kraus.shape
    parts = 2 ** (outcomes.bit_length() // 2)
    each = outcomes // parts
    states, node = _start(kraus, shots, generator, rho)
    states, room = states.reshape(-1, size).index_select(0, node), _Room(kraus)
    same = torch.arange(len(node), dtype=torch.int64, device=node.device)
    first = torch.arange(circuits, dtype=torch.int64, device=node.device).repeat_interleave(shots) * parts
    for t in range(time_steps):
        rows, draws = kraus[:, t].reshape(circuits, parts, -1, size), _draws(kraus, len(node), generator)
        part, draws = _part(states.view(circuits, shots, size), rows, draws, room)
        moved, seat = _met(states, rows.flatten(0, 1), first + part, room)
        weights = _squares(moved).view(-1, each)
        outcome = _pick(_edges(weights), seat, draws)
        yield part * each + outcome, same
        chosen = seat * each + outcome
        states = _normalise(moved.index_select(0, chosen), weights.view(-1).index_select(0, chosen))


def _part(
    states: torch.Tensor, rows: torch.Tensor, draws: torch.Tensor, room: _Room
) -> tuple[torch.Tensor, torch.Tensor]:
    """A part of the outcomes for every shot, those whose Kraus operators are ``rows`` (circuits, parts, ..., M), and
    what of its draw is left for an outcome of that part."""
    circuits, parts, _, size = rows.shape
    few = rows[:, :-1]
    forms = few.mH @ few  # sum_r K_r^+ K_r of a part: its probability is <state| form |state>
    moved = torch.bmm(states, forms.flatten(1, 2).mT, out=room(0, circuits, states.shape[1], (parts - 1) * size))
    shares = _overlaps(states[:, :, None], moved.unflatten(2, (parts - 1, size)), room).flatten(0, 1)
    shares = torch.cat([shares, 1 - shares.sum(1, keepdim=True)], 1)
    # What rounding cannot tell from 0 is 0: a shot there would have no state to go on with.
    edges = _edges(torch.where(shares > 2 * size * torch.finfo(shares.dtype).eps, shares, 0))
    part = torch.searchsorted(edges, draws[:, None], right=True)
    low, high = pad(edges, (1, 0)).gather(1, part), edges.gather(1, part)
    left = (draws[:, None] - low) / (high - low)
    return part[:, 0], left[:, 0].clamp_max(1 - torch.finfo(draws.dtype).eps)


def _met(
    states: torch.Tensor, rows: torch.Tensor, group: torch.Tensor, room: _Room
) -> tuple[torch.Tensor, torch.Tensor]:
    """States (shots, M) times the Kraus operators ``rows`` (groups, ..., M) of their groups, group after group, and
    where each shot's products are."""
    order, sizes = group.argsort(), torch.bincount(group, minlength=len(rows)).tolist()
    moved = room(0, len(order), rows.shape[1])
    for own, operators, out in zip(states.index_select(0, order).split(sizes), rows, moved.split(sizes)):
        torch.mm(own, operators.mT, out=out)
    seat = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), dtype=torch.int64, device=order.device))
    return moved.view(-1, states.shape[1]), seat


class _Room:
    """Two tensors of any shape, taken once: large ones are fetched anew from the operating system every time."""

    def __init__(self, like: torch.Tensor):
        self.taken = [like.new_empty(0), like.new_empty(0)]

    def __call__(self, which: int, *shape: int) -> torch.Tensor:
        count = math.prod(shape)
        if len(self.taken[which]) < count:
            self.taken[which] = self.taken[which].new_empty(count)
        return self.taken[which][:count].view(shape)


def _start(
    kraus: torch.Tensor, shots: int, generator: torch.Generator, rho: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """States and the node of every shot before the first step."""
    circuits, size = len(kraus), kraus.shape[-1]
    node = torch.arange(circuits, dtype=torch.int64, device=kraus.device).repeat_interleave(shots)
    if rho is None:
        return torch.eye(1, size, dtype=kraus.dtype, device=kraus.device).expand(circuits, 1, size), node
    weights, vectors = torch.linalg.eigh(rho)
    drawn = node * size + _pick(_edges(weights.clamp_min(0)), node, _draws(kraus, len(node), generator))
    vectors = vectors.mT.flatten(0, 1)
    return _grow(vectors, torch.ones_like(vectors[:, 0].real), drawn, circuits)


def _draws(kraus: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Uniform on [0, 1), one for every shot."""
    return torch.rand(count, generator=generator, dtype=kraus.real.dtype, device=generator.device).to(kraus.device)


def _overlaps(left: torch.Tensor, right: torch.Tensor, room: _Room) -> torch.Tensor:
    """Real parts of <left|right> for states (..., M)."""
    products = torch.view_as_real(room(1, *right.shape))
    torch.mul(torch.view_as_real(left), torch.view_as_real(right), out=products)
    return products.flatten(-2) @ products.new_ones(2 * right.shape[-1])


def _squares(states: torch.Tensor) -> torch.Tensor:
    """Squared norms of states (nodes, M)."""
    return torch.linalg.vector_norm(torch.view_as_real(states).flatten(1), dim=1).square()


def _normalise(states: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """States (nodes, M) with their squared norms set to 1, in place; as real numbers, which takes a tenth the time."""
    torch.view_as_real(states).div_(squares.sqrt()[:, None, None])
    return states


def _edges(weights: torch.Tensor) -> torch.Tensor:
    """Where in [0, 1] each outcome ends, (nodes, outcomes), for weights (nodes, outcomes)."""
    edges = weights.cumsum(1)
    return edges / edges[:, -1:]


def _pick(edges: torch.Tensor, node: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The outcome for every shot on the nodes ``node``."""
    return torch.searchsorted(edges.index_select(0, node), draws[:, None], right=True)[:, 0]


def _grow(
    moved: torch.Tensor, weights: torch.Tensor, branch: torch.Tensor, circuits: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """States (circuits, nodes, M) of the branches that occurred, normalised and closed up, and the node of every
    shot."""
    counts = torch.bincount(branch, minlength=len(weights))
    found = counts.nonzero()[:, 0]
    circuit = torch.arange(circuits + 1, dtype=torch.int64, device=found.device)
    starts = torch.searchsorted(found, circuit * (len(weights) // circuits))
    sizes = starts.diff()
    width = int(sizes.max())
    place = torch.arange(len(found), dtype=torch.int64, device=found.device)
    place += (circuit * width - starts)[:-1].repeat_interleave(sizes)
    states = moved.new_zeros(circuits * width, moved.shape[1])
    states[place] = _normalise(moved.index_select(0, found), weights.index_select(0, found))
    return states.view(circuits, width, -1), place.repeat_interleave(counts.index_select(0, found))
