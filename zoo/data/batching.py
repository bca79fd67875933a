"""Fills batches up to a token budget, with little padding and an order that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from zoo.errors import UsageError

_NEIGHBOURS = 4
"""Batches whose examples are shuffled together: more mixes better, fewer pads less."""


def by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indexes in batches of at most `budget` tokens, padding included, longest first.

    Longest first, so that memory peaks at the start and progress only gets faster. An example longer than the
    budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


class TokenBudgetBatches:
    """A batch sampler: examples are sorted by length, filled to the budget and shuffled each epoch.

    The number and sizes of the batches depend on the lengths alone, so every epoch has the same number of
    steps and resuming in mid-epoch can skip. Examples are shuffled within a neighbourhood of batches of
    similar length, and the batches are visited in random order.

    Args:
        lengths: tokens of each example.
        budget: tokens in a batch, padding included.
        multiple: the number of batches is a multiple of it (the number of processes): the largest batches are
            halved until it is. No example is repeated or left out.

    Raises:
        UsageError: fewer examples than `multiple`.
    """

    def __init__(self, lengths: Sequence[int], budget: int, seed: int, multiple: int = 1):
        self.batch_size = None  # accelerate asks for it
        self.drop_last = False
        self._seed, self._epoch = seed, 0
        self._neighbourhoods = _neighbourhoods(lengths, budget)
        if max(1, len(lengths)) < multiple:
            raise UsageError(
                f"{len(lengths)} examples cannot be shared by {multiple} processes.", "fewer processes"
            )
        self._even_out(multiple)

    @property
    def sampler(self) -> TokenBudgetBatches:
        """Where accelerate looks for `set_epoch` after skipping batches or sharding them over processes."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(len(sizes) for _, sizes in self._neighbourhoods)

    def __iter__(self) -> Iterator[list[int]]:
        shuffle = random.Random(self._seed * 1_000_003 + self._epoch)
        batches = []
        for members, sizes in self._neighbourhoods:
            mixed = shuffle.sample(members, len(members))
            for size in sizes:
                batches.append([mixed.pop() for _ in range(size)])
        shuffle.shuffle(batches)
        return iter(batches)

    def _even_out(self, multiple: int) -> None:
        wanted = -(-len(self) // multiple) * multiple
        if wanted > sum(len(members) for members, _ in self._neighbourhoods):
            wanted -= multiple
        while len(self) < wanted:
            sizes = max((sizes for _, sizes in self._neighbourhoods), key=max)
            largest = max(sizes)
            sizes.remove(largest)
            sizes += [largest - largest // 2, largest // 2]
        while len(self) > wanted:
            self._join_shortest()

    def _join_shortest(self) -> None:
        """Join two small batches, over the budget: halving would need more examples than there are."""
        members, sizes = self._neighbourhoods.pop()
        while len(sizes) == 1:
            more_members, more_sizes = self._neighbourhoods.pop()
            members, sizes = more_members + members, more_sizes + sizes
        sizes.sort(reverse=True)
        sizes.append(sizes.pop() + sizes.pop())
        self._neighbourhoods.append((members, sizes))


def _neighbourhoods(lengths: Sequence[int], budget: int) -> list[tuple[list[int], list[int]]]:
    """(indexes, batch sizes) of each stretch of similar lengths. The sizes fit its longest example."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    stretches = []
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        end = start + size * _NEIGHBOURS
        while end < len(order) and lengths[order[end]] == lengths[order[start]]:
            end += 1  # equal lengths need no padding in any order
        members = order[start:end]
        whole, rest = divmod(len(members), size)
        stretches.append((members, [size] * whole + ([rest] if rest else [])))
        start += len(members)
    return stretches
