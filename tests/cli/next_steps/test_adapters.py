"""Every next step for an adapter that could not be used works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.adapter_cases import CASES, SLOW
from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached


@parametrize(CASES)
def test_the_next_step_for_an_adapter_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_next_step_for_an_adapter_works_after_a_training(
    case: Case, world: World, reached: Reached
) -> None:
    assert_next_step_works(case, world, reached)
