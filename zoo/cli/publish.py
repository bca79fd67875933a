"""`zoo publish`: an adapter to the Hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.common import confirm, json_option, print_json, registry_option
from zoo.cli.help import Command
from zoo.cli.outputs import Published
from zoo.cli.tables import Column, page, print_checks, print_facts, print_rows, wide_option, with_whole_fixes
from zoo.errors import UsageError
from zoo.registry.schema import HubId
from zoo.registry.store import Registry
from zoo.runtime.checks import WARNING
from zoo.runtime.console import StderrReport
from zoo.runtime.terminal import say

if TYPE_CHECKING:
    from zoo.hub.stage import Staged


@click.command(
    name="publish",
    cls=Command,
    examples=[
        "zoo publish lora-bert-imdb --dry-run",
        "zoo publish lora-bert-imdb me/lora-bert-imdb --public",
    ],
)
@click.argument("name")
@click.argument("repo", required=False, metavar="[[OWNER/]REPO]")
@click.option("--public", is_flag=True, help="For everybody to see; else only you can.")
@click.option("--dry-run", is_flag=True, help="Run every check and list what would be sent; send nothing.")
@click.option("--create-pr", is_flag=True, help="Propose it as a pull request.")
@click.option("--revision", metavar="BRANCH", help="To this branch; else main.")
@click.option("--base-id", metavar="ID", help="The Hub's id of the base, where that is not on record.")
@click.option("--no-metrics", "without_metrics", is_flag=True, help="Publish although it was never measured.")
@click.option("--license", "licence", metavar="ID", help="As the Hub calls it: apache-2.0; else the base's.")
@click.option("--message", metavar="TEXT", help="Of the commit.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@registry_option
@wide_option
@json_option(Published)
def publish_command(
    registry: Registry,
    name: str,
    repo: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Publish an adapter on the Hub: weights, config, card, record and tokenizer, in one commit.

    REPO is OWNER/NAME, or a name in your own account (or the namespace of zoo config); without it, the
    adapter's name.
    """
    if not (dry_run or yes or sys.stdin.isatty()):
        raise UsageError("there is no terminal to ask on.", "--yes")
    from zoo.hub.publish import prepared, send
    from zoo.hub.stage import PublishOptions

    report = StderrReport()
    options = PublishOptions(**settings)
    with prepared(name, repo, registry, options, report, trial=dry_run) as (whole, staged):
        if dry_run:
            if as_json:
                print_json(_published(whole, staged, options.public, None, False))
            else:
                _print_trial(whole, staged, options.public)
        staged.check()
        if dry_run:
            return
        for one in staged.checks:
            if one.status == WARNING:
                report.warn(f"{one.name}: {one.detail}")
        for file, reason in staged.left_out:
            report.say(f"left out: {file!r} ({reason})")
        if not yes:
            size = f"{len(staged.files)} files, {sum(staged.files.values()):,} bytes"
            to = f"the {'public' if options.public else 'private'} repository {whole}"
            confirm(f"Publish {size}, to {to}?", "nothing was published")
        place, changed = send(whole, staged, registry, options, report)
        if not changed:
            report.say("the Hub has all of it already: nothing was sent")
        if as_json:
            print_json(_published(whole, staged, options.public, place, changed))
            return
        print_facts(
            {
                "published": place.url,
                "repository": place.repo,
                "revision": place.revision,
                "changed": "yes" if changed else "no",
            }
        )


def _published(repository: str, staged: Staged, public: bool, hub: HubId | None, changed: bool) -> Published:
    return Published(
        repository=repository,
        public=public,
        hub=hub,
        changed=changed,
        files=staged.files,
        left_out=dict(staged.left_out),
        checks=with_whole_fixes(staged.checks),
    )


def _print_trial(repo: str, staged: Staged, public: bool) -> None:
    files = [(name, "yes", f"{size:,} bytes") for name, size in staged.files.items()]
    columns = ("file", "sent", Column("detail", least=20))
    with page():
        print_checks(staged.checks)
        print_rows(columns, [*files, *((name, "no", why) for name, why in staged.left_out)])
    visible = "everybody" if public else "you"
    say(f"nothing was sent; it would go to {repo}, for {visible} to see")
