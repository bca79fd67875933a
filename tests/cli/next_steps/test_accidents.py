"""Every next step after an accident works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.accident_cases import CASES, SLOW
from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached


@parametrize(CASES)
def test_the_next_step_after_an_accident_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_next_step_after_an_accident_with_weights_works(
    case: Case, world: World, reached: Reached
) -> None:
    assert_next_step_works(case, world, reached)
