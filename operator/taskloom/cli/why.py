"""``kubectl taskloom why``: what keeps an object from being in force, and how to mend it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from taskloom.cli.cluster.choice import (
    Choice,
    ContextOption,
    KubeconfigOption,
    OneNamespaceOption,
    reach,
)
from taskloom.cli.cluster.diagnosis import Finding, diagnose, headline
from taskloom.cli.cluster.facts import Facts, gather_facts
from taskloom.cli.cluster.objects import Named, read_named
from taskloom.cli.console import Output, printable, say, show, show_data
from taskloom.cli.options import OutputOption


def why(
    *,
    kind: Annotated[
        str, typer.Argument(help="A kind and a name: workflow/order, or the kind alone.")
    ],
    name: Annotated[
        str | None, typer.Argument(help="The object's name, if it is not given before.")
    ] = None,
    namespace: OneNamespaceOption = None,
    output: OutputOption = Output.TABLE,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Say why an object is not in force, and what mends it.

    Looks at its conditions, at what it refers to, at its Events, at its deliveries, and at whether
    an operator works; all of it by the cluster's API server alone.
    The exit code is 1 if something is wrong.
    """
    named = read_named(kind, name)
    choice = Choice(context=context, kubeconfig=kubeconfig, namespace=namespace)
    facts = asyncio.run(_look(choice, named))
    findings = diagnose(facts)
    if output is Output.TABLE:
        print_story(headline(facts), findings)
    else:
        show_data(_story_to_json(facts, findings), output)
    if any(finding.wrong for finding in findings):
        raise typer.Exit(1)


async def _look(choice: Choice, named: Named) -> Facts:
    async with reach(choice) as reached:
        return await gather_facts(reached, named, datetime.now(UTC))


def print_story(line: str, findings: list[Finding]) -> None:
    """Print what was found; commands stand on lines of their own, to be copied."""
    wrong = any(finding.wrong for finding in findings)
    show(Text(printable(line), "bold red" if wrong else "bold green"))
    if not wrong:
        say("Nothing is wrong with it.")
    for finding in findings:
        say("")
        show(Text(printable(finding.text), "" if finding.wrong else "dim"))
        for fix in finding.fixes:
            show(Text(f"  {printable(fix)}", "cyan"))


def _story_to_json(facts: Facts, findings: list[Finding]) -> dict[str, object]:
    metadata = facts.body["metadata"]
    return {
        "kind": facts.body["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "summary": headline(facts),
        "findings": [
            {"wrong": each.wrong, "text": each.text, "commands": list(each.fixes)}
            for each in findings
        ],
    }
