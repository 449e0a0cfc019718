"""An accuracy that is made up but fixed: what searches are compared on where the true best must be cheap to ask.

It has the shape that measured accuracies have, and genes interact: a block's gain grows with its width with
falling returns, the kernel that suits it depends on the block before, neighbouring blocks help each other, and the
whole saturates. Quantization noise adds up along the layers and shrinks with every bit, in some layers faster than
in others; narrow blocks suffer more, and noise of weights and activations of one block multiplies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitfront.supernet.genes import Gene, Genomes
from bitfront.supernet.quantization.formats import FORMATS
from bitfront.supernet.space import SearchSpace

Floats = NDArray[np.float64]

_BEST, _LOST_BY_SIZE, _LOST_BY_BITS = 0.78, 0.35, 0.5
_SATURATION, _NEIGHBOURS, _KERNEL_MISFIT = 3.0, 0.5, 0.6
_NOISE_OF_4_BITS = 0.8


class SyntheticAccuracy:
    """Top-1 accuracy, a fraction, of genomes of one space; ``seed`` draws sensitivities once.

    Call it with genomes (n, n_genes); the result has shape (n,) and depends on nothing else.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        rng = np.random.default_rng(seed)
        slots = space.slots
        n = len(slots)
        self._gain = rng.lognormal(0.0, 0.7, n)
        self._returns = rng.uniform(0.3, 0.9, n)
        self._kernel = rng.random(n)
        self._pull = rng.uniform(-0.6, 0.6, n)
        self._coupled = rng.random(n)
        self._widths = [self._columns(slot.genes, "width", _relative) for slot in slots]
        self._kernels = [self._columns(slot.genes, "kernel", _place) for slot in slots]
        self._noise: list[list[tuple[int, Floats]]] = []
        for slot in slots:
            weights = self._columns(slot.genes, "weight_format", _bits)
            activations = self._columns(slot.genes, "activation_format", _bits)
            self._noise.append([(i, _noise_table(bits, rng)) for i, bits in (*weights, *activations)])
        self._sizes = [(i, _relative(g) ** 0.3) for i, g in enumerate(space.genes) if g.kind == "resolution"]
        largest = space.extremes()[1:]
        self._full = float(self._capacity(largest)[0].sum())
        self._loud = max(float(self._loudness(space.repair(self._lowest(largest)))[0]), 1e-9)

    def __call__(self, genomes: Genomes) -> Floats:
        """Top-1 accuracy, shape (n,)."""
        capacity = self._capacity(genomes).sum(axis=1) / self._full
        for gene, factor in self._sizes:
            capacity = capacity * factor[genomes[:, gene]]
        noise = _NOISE_OF_4_BITS * self._loudness(genomes) / self._loud
        kept = 1 - _LOST_BY_SIZE * (np.exp(-_SATURATION * capacity) - np.exp(-_SATURATION))
        accuracy: Floats = _BEST * kept * (1 - _LOST_BY_BITS * (1 - np.exp(-noise)))
        return np.clip(accuracy, 0.001, 0.999)

    def _columns(self, names: tuple[str, ...], kind: str, values: object) -> list[tuple[int, Floats]]:
        assert callable(values)
        places = [self._space.position[name] for name in names]
        return [(i, values(self._space.genes[i])) for i in places if self._space.genes[i].kind == kind]

    def _alive(self, genomes: Genomes) -> Floats:
        alive = np.ones((len(genomes), len(self._space.slots)))
        for place, slot in enumerate(self._space.slots):
            if slot.active_if is not None:
                alive[:, place] = genomes[:, self._space.position[slot.active_if[0]]] >= slot.active_if[1]
        return alive

    def _width(self, genomes: Genomes, place: int) -> Floats:
        width = np.ones(len(genomes))
        for gene, values in self._widths[place]:
            width = width * values[genomes[:, gene]]
        return width

    def _capacity(self, genomes: Genomes) -> Floats:
        """What each block gives, shape (n, slots)."""
        capacity = self._alive(genomes)
        before = np.full(len(genomes), 0.5)  # of the last block that is there
        given = np.zeros(len(genomes))
        for place in range(capacity.shape[1]):
            there = capacity[:, place].copy()
            kernel = np.full(len(genomes), 0.5)
            for gene, values in self._kernels[place]:
                kernel = values[genomes[:, gene]]
            misfit = kernel - self._kernel[place] - self._pull[place] * (before - 0.5)
            own = self._gain[place] * self._width(genomes, place) ** self._returns[place]
            own = there * own * (1 - _KERNEL_MISFIT * misfit**2)
            own = np.maximum(own, 0.05 * there * self._gain[place])
            capacity[:, place] = own + _NEIGHBOURS * self._coupled[place] * np.sqrt(own * given)
            before, given = np.where(there > 0, kernel, before), np.where(there > 0, own, given)
        return capacity

    def _loudness(self, genomes: Genomes) -> Floats:
        """Noise of all layers, shape (n,)."""
        alive = self._alive(genomes)
        total = np.zeros(len(genomes))
        for place, tables in enumerate(self._noise):
            if tables:
                each = np.stack([noise[genomes[:, gene]] for gene, noise in tables])
                together = each.sum(axis=0) + np.sqrt(each[0] * each[-1])
                total += alive[:, place] * together / np.sqrt(self._width(genomes, place))
        return total

    def _lowest(self, genomes: Genomes) -> Genomes:
        lowest = genomes.copy()
        for i, gene in enumerate(self._space.genes):
            if gene.is_policy:
                lowest[:, i] = int(np.argmin(_bits(gene)))
        return lowest


def _relative(gene: Gene) -> Floats:
    values = np.array(gene.choices, dtype=np.float64)
    return np.asarray(values / values.max(), dtype=np.float64)


def _place(gene: Gene) -> Floats:
    return np.linspace(0.0, 1.0, len(gene.choices)) if len(gene.choices) > 1 else np.array([0.5])


def _bits(gene: Gene) -> Floats:
    return np.array([FORMATS.get(str(name)).storage_bits for name in gene.choices], dtype=np.float64)


def _noise_table(bits: Floats, rng: np.random.Generator) -> Floats:
    """Noise by choice: that of 4 bits is the layer's sensitivity."""
    noise: Floats = rng.lognormal(0.0, 1.0) * 2.0 ** (-rng.uniform(1.0, 2.0) * (bits - 4))
    return noise
