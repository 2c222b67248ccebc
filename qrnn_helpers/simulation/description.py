"""What a compiled step circuit consists of, in numbers: to be read and printed, not to be run."""

from __future__ import annotations

from dataclasses import dataclass

from .contraction import Contraction, ContractionStep
from .fusion import Block, Cluster
from .unitaries import BlockUnitaries


@dataclass(frozen=True)
class FactorDescription:
    """A product of gates as a sum: how many ``gates`` on which ``qubits``, and as how many ``waves``."""

    qubits: tuple[int, ...]
    gates: int
    waves: int


@dataclass(frozen=True)
class BlockDescription:
    """Neighbouring gates that are applied as one matrix, and the ``factors`` that it is a product of."""

    qubits: tuple[int, ...]
    factors: tuple[FactorDescription, ...]


@dataclass(frozen=True)
class ClusterDescription:
    """So many ``blocks`` that are multiplied with each other first; ``sizes`` as in `StepDescription`."""

    qubits: tuple[int, ...]
    blocks: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class StepDescription:
    """A compiled step.

    ``sizes``: numbers in the tensor that becomes the isometry, at the start and after each cluster.
    ``multiplications``: complex ones that make one isometry.  ``cost``: those of the contraction, and what writing
    and reading its numbers costs; the compiler takes the width of clusters that makes it least.
    """

    gates: int
    blocks: tuple[BlockDescription, ...]
    clusters: tuple[ClusterDescription, ...]
    sizes: tuple[int, ...]
    multiplications: int
    cost: int


def described(clusters: list[Cluster], unitaries: BlockUnitaries, contraction: Contraction) -> StepDescription:
    blocks = [block for cluster in clusters for block in cluster.blocks]
    return StepDescription(
        gates=sum(len(block.ops) for block in blocks),
        blocks=tuple(_block(block) for block in blocks),
        clusters=tuple(_cluster(*pair) for pair in zip(clusters, contraction.steps)),
        sizes=(1, *contraction.sizes),
        multiplications=unitaries.multiplications + contraction.multiplications,
        cost=contraction.cost,
    )


def _block(block: Block) -> BlockDescription:
    factors = [
        FactorDescription(qubits, len(factor.gates), len(factor.rates)) for qubits, factor in block.placed_factors()
    ]
    return BlockDescription(block.qubits, tuple(factors))


def _cluster(cluster: Cluster, step: ContractionStep) -> ClusterDescription:
    return ClusterDescription(cluster.qubits, len(cluster.blocks), (1, *step.source.sizes))
