"""The export of a plan as a user sees it: progress, the summary, quicklooks, and the command that goes on."""

from __future__ import annotations

import shlex
from pathlib import Path

from dwplus.earth import EarthConfig, connect_config
from dwplus.errors import SchedulerLostError, StopError
from dwplus.export.budget import Budget
from dwplus.export.run import export
from dwplus.runtime import console
from dwplus.runtime.console import say
from dwplus.store.places import companion, place_of
from dwplus.store.stops import gone_of
from dwplus.store.summary import Summary, by_biome_lines, summarise

#: What the service's answers said, and what the run did about it.
RESTRICTED = ("restricted mode: the service says that the project's monthly compute is used up and computes with less "
              "parallelism; fewer requests were in flight (https://developers.google.com/earth-engine/guides/"
              "noncommercial_tiers)")


def export_and_show(plan: Path, store: str, world: str | None, project: str | None, scheduler: str, quicklooks: bool,
                    max_hours: float | None = None, budget_eecu_hours: float | None = None) -> int:
    """Export, print the summary, draw the quicklooks. Returns the exit code."""
    config = EarthConfig(project or None, world or None)
    given = [item for name, value in (("--world", world), ("--project", project), ("--scheduler", scheduler))
             if value for item in (name, value)]
    again = shlex.join(["dwplus", "export", str(plan), str(store), *given])
    say(connect_config(config).description)
    try:
        with console.shard_progress() as progress:
            summary = export(plan, store, config, scheduler=scheduler, budget=Budget(max_hours, budget_eecu_hours),
                             progress=progress)
    except StopError as error:
        if gone_of(store) is None and place_of(store).exists():
            show(summarise(store), store)
        if isinstance(error, SchedulerLostError):
            raise SchedulerLostError(f"{error}; start it and its workers again, and go on with: {again}") from error
        raise
    show(summary, store)
    if quicklooks and summary.exported and (words := console.lacking("report")):
        say(f"no quicklooks: a picture {words}")
    elif quicklooks and summary.exported:
        from dwplus.report.quicklooks import quicklooks as draw

        folder = companion(store, ".quicklook")
        say(f"{len(draw(store, folder))} quicklooks in {folder}")
    if summary.restricted:
        say(RESTRICTED)
    if project and summary.workload:
        say(f"compute of this run: workload_tag {summary.workload} in the project's Cloud Monitoring, metric of "
            "completed EECU-seconds")
    if summary.stopped:
        mode = " (restricted mode)" if summary.restricted else ""
        say(f"stopped{mode}: {summary.stopped}; go on with: {again}")
    return 0 if summary.complete else 1


def show(summary: Summary, store: str) -> None:
    """The summary by biome, an example of each reason, the sum, and the store."""
    for line in by_biome_lines(summary):
        say(line)
    for reason, example in summary.examples.items():
        say(f"{reason}: e.g. {example}")
    if summary.radar:
        say(summary.radar)
    say(summary.line)
    say(f"store {store}")
