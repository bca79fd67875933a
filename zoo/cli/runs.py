"""`zoo runs`, `resume` and `stop`: trainings that are alive, and those that stopped and can go on."""

from __future__ import annotations

import click

from zoo.cli.common import confirm_unless, json_option, registry_option, say_undo, typed
from zoo.cli.help import Command, Group
from zoo.cli.outputs import RunRow
from zoo.cli.tables import Column, Typed, print_table, wide_option
from zoo.cli.train import print_trained
from zoo.errors import UsageError, ZooError
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import Registry
from zoo.runtime.config import setting
from zoo.runtime.console import StderrReport
from zoo.runtime.terminal import say
from zoo.runtime.trackers import check_installed
from zoo.training import runs

_STOP_SECONDS = 600.0
"""A step of a large model takes its time."""


@click.group(
    name="runs",
    cls=Group,
    invoke_without_command=True,
    examples=["zoo runs", "zoo runs --json", "zoo runs rm 20261125-093012-7f3a"],
)
@registry_option
@wide_option
@json_option(list[RunRow])
@click.pass_context
def runs_command(ctx: click.Context, registry: Registry, as_json: bool) -> None:
    """Trainings that have not come to their end: how far they are, and how to go on with them."""
    if ctx.invoked_subcommand is not None:
        return
    rows = [_row(run) for run in runs.all_runs(registry)]
    print_table(
        rows,
        (
            *(Column("run"), Column("name"), Column("status"), Column("step"), Column("steps", rank=3)),
            *(Column("method", rank=6), Column("task", rank=5), Column("created", rank=4)),
            *(Column("host", rank=8), Column("pid", rank=7), Column("detail", rank=2, least=12)),
            Column("next", lambda row: Typed(row["next"]), below=True),
        ),
        as_json,
    )
    if not rows and not as_json:
        say(f"no training is alive in {registry.path.parent}, and none has stopped before its end")


def _row(run: runs.Run) -> RunRow:
    state = run.state
    detail = {
        "alive": "",
        "finished": "trained; only its registration is left to do",
        "failed": state.failure or "",
        "interrupted": "" if run.step else "no checkpoint yet",
    }
    return RunRow(
        run=run.id,
        name=run.name,
        status=run.status,
        step=run.step,
        steps=run.total,
        method=state.config.method,
        task=state.config.task,
        created=state.created,
        host=state.host,
        pid=state.pid,
        detail=detail[run.status],
        next=run.next_step,
    )


@runs_command.command(name="rm", examples=["zoo runs rm 20261125-093012-7f3a --yes"])
@click.argument("words", nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@registry_option
def rm_command(registry: Registry, words: tuple[str, ...], yes: bool) -> None:
    """Remove runs that stopped, with their checkpoints; for a week, zoo undo brings them back.

    RUN is an id, or the name of the adapter.
    """
    found = [runs.get(registry, word) for word in words]
    for run in found:
        if run.alive:
            raise UsageError(f"run {run.id} is alive.", f"zoo stop {run.id}")
    confirm_unless(yes, f"Remove {', '.join(run.id for run in found)}?", "nothing was removed")
    for run in found:
        say_undo(f"removed run {run.id} of '{run.name}'", runs.remove(registry, run, typed()))


@click.command(
    name="resume",
    cls=Command,
    examples=["zoo resume lora-bert-imdb", "zoo resume 20261125-093012-7f3a --allow-changes"],
)
@click.argument("word", metavar="RUN|NAME")
@click.option("--threads", type=int, metavar="N", help="Of the CPU. Default: as many as before.")
@click.option(
    "--allow-changes", is_flag=True, help="Go on though base, data, versions or the machine have changed."
)
@click.option(
    "--tracker",
    metavar="NAME",
    default=lambda: setting("tracker"),
    show_default="none, or as zoo config says",
    help="Report the training to tensorboard, trackio, wandb, mlflow...",
)
@registry_option
@wide_option
@json_option(AdapterRecord)
def resume_command(
    registry: Registry, word: str, threads: int | None, allow_changes: bool, tracker: str, as_json: bool
) -> None:
    """Go on with a training that stopped, from its last whole checkpoint.

    It is the same run: settings, base, data, threads, precision and versions must be those that it began
    with, and the threads are set to them.
    """
    from zoo.training import pipeline

    check_installed(tracker)
    run = runs.get(registry, word)
    if run.alive:
        raise UsageError(f"run {run.id} is alive.", f"zoo stop {run.id}")
    report = StderrReport()
    record = pipeline.resume(
        run, registry, report, threads=threads, allow_changes=allow_changes, tracker=tracker
    )
    print_trained(record, registry, report, as_json)


@click.command(name="stop", cls=Command, examples=["zoo stop lora-bert-imdb"])
@click.argument("word", metavar="RUN|NAME")
@registry_option
def stop_command(registry: Registry, word: str) -> None:
    """Let a training save a checkpoint and end. It may run on another machine that shares the folder."""
    run = runs.get(registry, word)
    if not run.alive:
        raise UsageError(f"run {run.id} is not alive: it is {run.status}.", f"zoo resume {run.id}")
    say(f"stopping run {run.id}, process {run.state.pid} of {run.state.host}, at the end of its step")
    if not runs.ask_to_stop(run, _STOP_SECONDS):
        raise ZooError(f"run {run.id} has not ended in {_STOP_SECONDS:.0f} s.", f"zoo stop {run.id}")
    say(f"run {run.id} has ended")
