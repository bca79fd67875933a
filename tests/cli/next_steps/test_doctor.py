"""Every fix that `zoo doctor` prints works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.doctor_cases import CASES, SLOW
from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached


@parametrize(CASES)
def test_the_fix_of_the_doctor_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_fix_that_takes_its_time_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)
