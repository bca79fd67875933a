"""Every next step of a training that stopped, failed or is alive works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached
from tests.cli.next_steps.run_cases import CASES, SLOW


@parametrize(CASES)
def test_the_next_step_of_a_run_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_next_step_of_a_run_that_takes_its_time_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)
