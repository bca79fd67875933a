"""Batches of a token budget: every example once, the budget kept, the same order for the same seed."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import pytest

from zoo.data.batching import TokenBudgetBatches, by_length
from zoo.errors import UsageError

BUDGET = 512


def drawn(count: int, longest: int = 512, seed: int = 0) -> list[int]:
    pick = random.Random(seed)
    return [min(longest, max(1, int(pick.lognormvariate(4.5, 1)))) for _ in range(count)]


LENGTHS = {
    "mixed": drawn(1000),
    "equal": [37] * 100,
    "equal to the budget": [BUDGET] * 9,
    "a single one": [12],
    "ones": [1] * 2000,
    "one and the longest": [1, BUDGET] * 50,
    "over-long among short": [5] * 40 + [BUDGET + 1, 10 * BUDGET] + [5] * 40,
    "just over half": [BUDGET // 2 + 1] * 20,
    "zeros": [0, 0, 3],
}
every_kind = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())


def epoch(batches: TokenBudgetBatches, number: int) -> list[list[int]]:
    batches.set_epoch(number)
    return list(batches)


def tokens(batch: list[int], lengths: list[int]) -> int:
    """Padding included."""
    return len(batch) * max(lengths[index] for index in batch)


@every_kind
def test_each_epoch_has_every_example_once_in_as_many_batches_within_the_budget(lengths: list[int]) -> None:
    """One over-long example is a batch of its own."""
    batches = TokenBudgetBatches(lengths, BUDGET, seed=1)
    for number in range(4):
        found = epoch(batches, number)
        assert len(found) == len(batches)
        assert sorted(chain.from_iterable(found)) == list(range(len(lengths)))
        assert all(found)
        assert all(tokens(batch, lengths) <= BUDGET or len(batch) == 1 for batch in found)


def test_the_sizes_do_not_depend_on_the_seed() -> None:
    """So that the number of steps is that of the data, whatever the seed."""
    sizes = {len(TokenBudgetBatches(LENGTHS["mixed"], BUDGET, seed)) for seed in range(5)}
    assert len(sizes) == 1


def test_the_same_seed_and_epoch_give_the_same_order() -> None:
    first, second = (TokenBudgetBatches(LENGTHS["mixed"], BUDGET, seed=7) for _ in range(2))
    assert epoch(first, 2) == epoch(second, 2)
    epoch(second, 5)
    assert list(first) == list(first) == epoch(second, 2)


def test_another_epoch_or_seed_gives_another_order_and_other_company() -> None:
    batches = TokenBudgetBatches(LENGTHS["mixed"], BUDGET, seed=7)
    other = TokenBudgetBatches(LENGTHS["mixed"], BUDGET, seed=8)
    orders = [epoch(batches, 0), epoch(batches, 1), epoch(other, 0)]
    for left, right in ((0, 1), (0, 2)):
        assert orders[left] != orders[right]
        company = [{frozenset(batch) for batch in orders[which] if len(batch) > 1} for which in (left, right)]
        assert len(company[0] & company[1]) < len(company[0]) / 2


def test_the_random_state_of_the_process_is_neither_used_nor_changed() -> None:
    random.seed(1)
    before = random.getstate()
    first = epoch(TokenBudgetBatches(LENGTHS["mixed"], BUDGET, seed=7), 0)
    assert random.getstate() == before
    random.seed(2)
    assert epoch(TokenBudgetBatches(LENGTHS["mixed"], BUDGET, seed=7), 0) == first


def test_batches_come_in_random_order_of_length() -> None:
    lengths = LENGTHS["mixed"]
    longest = [max(lengths[index] for index in batch) for batch in TokenBudgetBatches(lengths, BUDGET, 0)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_examples_of_one_length_are_mixed_with_all_others_of_it() -> None:
    """A contrastive loss learns from who shares a batch."""
    batches = TokenBudgetBatches([1] * 640, 10, seed=0)
    spans = [max(batch) - min(batch) for batch in batches]
    assert sum(span > 320 for span in spans) > 0.9 * len(spans)


def test_little_is_padding() -> None:
    lengths = drawn(5000)
    batches = list(TokenBudgetBatches(lengths, 8192, seed=0))
    padded = sum(tokens(batch, lengths) for batch in batches)
    assert sum(lengths) / padded > 0.85
    plain = [range(start, start + 32) for start in range(0, len(lengths) - 32, 32)]
    assert padded < 0.6 * sum(tokens(list(batch), lengths) for batch in plain)


def test_batches_are_filled() -> None:
    """Examples of one length need no more batches than their tokens ask for."""
    assert len(TokenBudgetBatches([64] * 100, BUDGET, seed=0)) == 13
    assert len(TokenBudgetBatches([1] * BUDGET, BUDGET, seed=0)) == 1


def test_no_example_gives_no_batch() -> None:
    batches = TokenBudgetBatches([], BUDGET, seed=0)
    assert (len(batches), list(batches), by_length([], BUDGET)) == (0, [], [])


@every_kind
def test_batches_for_evaluation_hold_every_example_once_longest_first(lengths: list[int]) -> None:
    """Memory is then asked for at once, and progress only gets faster."""
    batches = by_length(lengths, BUDGET)
    visited = list(chain.from_iterable(batches))
    assert sorted(visited) == list(range(len(lengths)))
    assert [lengths[index] for index in visited] == sorted(lengths, reverse=True)
    assert all(tokens(batch, lengths) <= BUDGET or len(batch) == 1 for batch in batches)


def test_any_lengths_and_budget_can_be_shared_by_any_number_of_processes() -> None:
    pick = random.Random(0)
    for _ in range(400):
        multiple = pick.randint(1, 8)
        count = pick.randint(multiple, 60)
        lengths = [pick.randint(1, pick.choice((3, 30, 300))) for _ in range(count)]
        budget = pick.choice((1, 8, 64, 512, 10**6))
        batches = TokenBudgetBatches(lengths, budget, seed=0, multiple=multiple)
        assert len(batches) % multiple == 0
        assert sorted(chain.from_iterable(batches)) == list(range(count))
        plain = len(TokenBudgetBatches(lengths, budget, seed=0))
        assert abs(len(batches) - plain) < multiple
        if len(batches) >= plain:  # only where halving would need more examples is the budget exceeded
            assert all(tokens(batch, lengths) <= budget or len(batch) == 1 for batch in batches)


@pytest.mark.parametrize("multiple", range(2, 9))
def test_batches_of_one_example_each_are_joined_where_they_do_not_come_out_even(multiple: int) -> None:
    for count in range(multiple, 4 * multiple):
        lengths = [100 + index for index in range(count)]
        batches = list(TokenBudgetBatches(lengths, 10, seed=0, multiple=multiple))
        assert len(batches) == count // multiple * multiple
        longest = [max(lengths[index] for index in batch) for batch in batches if len(batch) > 1]
        # the shortest are joined
        assert all(length < 100 + 2 * multiple for length in longest)


@pytest.mark.parametrize("lengths", [[], [4]], ids=["none", "one"])
def test_fewer_examples_than_processes_are_refused_in_words(lengths: list[int]) -> None:
    with pytest.raises(UsageError, match=f"{len(lengths)} examples cannot be shared by 2 processes"):
        TokenBudgetBatches(lengths, BUDGET, seed=0, multiple=2)


def _shares(lengths: list[int], processes: int) -> list[Any]:
    """What accelerate gives each of the processes."""
    from accelerate.data_loader import BatchSamplerShard, DataLoaderShard

    shares = []
    for process in range(processes):
        batches = TokenBudgetBatches(lengths, BUDGET, seed=3, multiple=processes)
        shard = BatchSamplerShard(batches, processes, process, even_batches=False)
        shard.sampler = batches  # as training does
        shares.append(DataLoaderShard(range(len(lengths)), batch_sampler=shard, collate_fn=list))
    return shares


@pytest.mark.parametrize("processes", [2, 3])
def test_accelerate_gives_every_example_to_exactly_one_process(processes: int) -> None:
    lengths = LENGTHS["mixed"]
    for number in range(2):
        shares = _shares(lengths, processes)
        for share in shares:
            share.set_epoch(number)
        dealt = [list(share) for share in shares]
        assert len({len(share) for share in dealt}) == 1
        assert [len(share) for share in shares] == [len(share) for share in dealt]
        assert sorted(chain.from_iterable(chain.from_iterable(dealt))) == list(range(len(lengths)))
        whole = epoch(TokenBudgetBatches(lengths, BUDGET, seed=3, multiple=processes), number)
        assert [batch for step in zip(*dealt, strict=True) for batch in step] == whole


def test_accelerate_tells_the_epoch_after_skipping_what_two_processes_have_seen() -> None:
    from accelerate.data_loader import skip_first_batches

    first, second = (skip_first_batches(share, 2) for share in _shares(LENGTHS["mixed"], 2))
    for share in (first, second):
        share.set_epoch(3)
    whole = epoch(TokenBudgetBatches(LENGTHS["mixed"], BUDGET, 3, multiple=2), 3)
    assert (list(first), list(second)) == (whole[::2][2:], whole[1::2][2:])


def test_accelerate_skips_what_a_process_alone_has_already_seen() -> None:
    from accelerate.data_loader import DataLoaderShard, skip_first_batches

    lengths = LENGTHS["mixed"]
    batches = TokenBudgetBatches(lengths, BUDGET, seed=3)
    loader = skip_first_batches(
        DataLoaderShard(range(len(lengths)), batch_sampler=batches, collate_fn=list), 4
    )
    loader.set_epoch(2)
    assert list(loader) == epoch(TokenBudgetBatches(lengths, BUDGET, seed=3), 2)[4:]
