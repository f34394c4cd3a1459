"""The machine and the Earth: is all ready, what may a spec say, and the embedded Earth as a service."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from dwplus.cli.options import Project, World, finish
from dwplus.runtime.console import say


def doctor(
    project: Project = None, world: World = None,
    store: Annotated[str | None, typer.Option(
        "--store", metavar="DIR|URL", help="A store, or where one is to be made (default: data).")] = None,
    conformance: Annotated[bool, typer.Option(
        "--conformance", help="Instead: ask the Earth about 20 questions, 30 requests at most and a few EECU-seconds, "
        "and write its answers into a file to send us.")] = False,
    output: Annotated[Path, typer.Option(
        "-o", "--output", metavar="FILE", help="File of the conformance report.")] = Path("conformance.json"),
    scenes: Annotated[str | None, typer.Option(
        "--scenes", metavar="PLAN|DIR", help="A plan, or a folder of annotated tiles: warns of scenes that no "
                                             "satellite can have made, by their names (default: none).")] = None,
) -> None:
    """Say whether this machine is ready.

    Checks Python, packages, extras, disk, store, credentials, project, quota and GPU; with a project also what a tile
    and a look-up cost, by their profiles. Exit code 1 when anything fails.
    """
    def action() -> int:
        if conformance:
            return _conformance(project or None, world or None, output)
        from pipelines.doctor import examine

        checks = examine(project or None, world or None, store or None, scenes or None)
        for check in checks:
            say(str(check))
        failed = sum(check.state == "fail" for check in checks)
        say(f"{failed} failed" if failed else "ready")
        return 1 if failed else 0

    finish(action)


def _conformance(project: str | None, world: str | None, output: Path) -> int:
    from dwplus.earth import connect
    from pipelines.conformance import BEFOREHAND, write

    session = connect(project, world)
    say(f"{session.description}: {BEFOREHAND}")
    made = write(session, output)
    for name, answer in made["semantics"].items():
        say(f"{name}: {answer}")
    say(f"{made['requests']} requests; report written to {output}: attach it to an issue")
    return 0


def keys(
    of: Annotated[Literal["spec", "training"], typer.Argument(help="spec: of a data set, as in pipelines/regions; "
                                                              "training: of a config, as for --set.")] = "spec",
) -> None:
    """List the keys of a spec or of a training config.

    With choices, default and meaning.
    """
    def action() -> int:
        if of == "training":
            from model.config import TrainConfig as Model
        else:
            from dwplus.spec import DatasetSpec as Model  # type: ignore[assignment]
        for line in _key_lines(Model, ""):
            say(line)
        return 0

    finish(action)


def _key_lines(model: Any, prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else (field.annotation,)
        inner = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
        if inner is not None:
            yield from _key_lines(inner, f"{prefix}{name}.")
            continue
        choices = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        said = [f"one of {', '.join(choices)}"] if choices else []
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        said.append("required" if field.is_required() else f"default {_in_yaml(default)}")
        yield f"{prefix}{field.alias or name}: {field.description} ({'; '.join(said)})"


def _in_yaml(value: Any) -> str:
    """A value as one would write it in the file."""
    import yaml

    if isinstance(value, tuple):
        value = list(value)
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def serve(
    world: Annotated[Path | None, typer.Option("--world", metavar="DIR", help="Asset tree to serve; without it the "
                                                                              "sample planet.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 0,
    latency_ms: Annotated[float, typer.Option(min=0, help="Pause before every answer.")] = 0,
    fault_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of requests answered with a fault.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(
        metavar="KEY=VALUE,...", help="A fault to inject, e.g. kind=drop,path=computePixels,count=3; kinds: status "
        "(with code), drop, truncate, garbage, capacity, slow (with seconds); also probability, skip. May be "
        "repeated.")] = None,
    limit: Annotated[list[str] | None, typer.Option(
        metavar="NAME=VALUE", help="Another limit than the service's, e.g. aggregations=10, concurrency=5, seconds=60, "
        "restricted=true (every answer says that the project's compute is used up); docs/embedded_earth.md lists "
        "them. May be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample planet and of the faults.")] = 0,
) -> None:
    """Serve the embedded Earth on loopback; the first line of output is its URL."""
    def action() -> int:
        from dwplus.earth.session import serve_embedded

        serve_embedded(None if world is None else str(world), port=port, latency_s=latency_ms / 1000,
                       fault_rate=fault_rate, seed=seed, faults=fault or (), limits=limit or (), announce=say)
        return 0

    finish(action)


def functions() -> None:
    """List the functions of Earth Engine that the embedded Earth supports, then those it lacks."""
    def action() -> int:
        from dwplus.earth.session import embedded_functions

        have, lack = embedded_functions()
        say(f"supported, {len(have)}:")
        for name in have:
            say(f"  {name}")
        say(f"not supported, {len(lack)}; each answers a 400 that names it:")
        for name in lack:
            say(f"  {name}")
        return 0

    finish(action)


def sites() -> None:
    """List the sites of the sample planet, which alone have ground, with their biome and a box to try."""
    def action() -> int:
        from dwplus.earth.session import planet_sites

        found, side = planet_sites()
        say(f"{len(found)} squares of {side / 1000:g} km; all other ground is water without scenes")
        for site in found:
            south, reach = site.lat - 0.03, 0.03 / math.cos(math.radians(site.lat))  # 6.7 km: a tile of 510 px at least
            say(f"  {site.name:<22} biome {site.biome:>2}  {site.ecoregion}")
            say(f"  {'':<22} REGION={site.lon - reach:.2f},{south:.2f},{site.lon + reach:.2f},{south + 0.06:.2f}")
        return 0

    finish(action)
