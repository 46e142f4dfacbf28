"""The verbs of `models`: the store of model files. None of them needs the core or the vault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output, size
from agentkit.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from agentkit.models.manifest import StoredModel
    from agentkit.models.progress import OnProgress, Progress
    from agentkit.models.store import ModelStore

app = typer.Typer(help="Pull, list, check and remove model files.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `models list` shows it.", show_default=False)]
Sha256 = Annotated[
    str | None,
    typer.Option("--sha256", metavar="HASH", help="The hash the file must have.", show_default=False),
]
OwnName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Its name in the store.", show_default=False)
]


class Transfer(StrEnum):
    """How a file comes into the store."""

    LINK = "link"
    COPY = "copy"
    MOVE = "move"


@app.command("pull")
def pull(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Names of the catalogue, hf:OWNER/REPOSITORY/FILE.gguf[@REVISION], or https: addresses.",
            show_default=False,
        ),
    ],
    name: OwnName = None,
    sha256: Sha256 = None,
    as_json: Json = False,
) -> None:
    """Fetch models, check their hashes and store them; an interrupted download goes on where it ended."""
    from agentkit.models.pull import pull as fetch

    output = Output(as_json=as_json)
    if len(what) > 1 and (name is not None or sha256 is not None):
        raise ConfigError("--name and --sha256 belong to one model", hint="pull one at a time")
    pulled = []
    for each in what:
        with _progress(output, each) as on_progress:
            model = fetch(each, _store(), on_progress, name=name, sha256=sha256)
        pulled.append(_said(model))
        output.line(
            f"{model.name}: {size(model.size)}, {model.licence or 'licence unknown'}, {_checked(model)}"
        )
    output.json({"models": pulled})


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the models of the store, and what the catalogue has beside them."""
    from agentkit.models.catalogue import CATALOGUE

    output = Output(as_json=as_json)
    stored = [_said(model) for model in _store().entries()]
    names = {model["name"] for model in stored}
    known: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "size_bytes": entry.size_bytes,
            "sha256": entry.sha256,
            "licence": entry.licence,
            "context_tokens": entry.context_tokens,
            "description": entry.description,
            "source": str(entry.source),
        }
        for entry in CATALOGUE.values()
        if entry.name not in names
    ]
    output.json({"models": stored, "catalogue": known})
    output.rows(
        ("model", "kind", "size", "context", "licence", "where"),
        [
            (
                each["name"],
                each["kind"],
                size(each["size_bytes"]),
                each["context_tokens"] or "?",
                each["licence"],
                where,
            )
            for group, where in ((stored, "here"), (known, "to pull"))
            for each in group
        ],
    )


@app.command("found")
def found(as_json: Json = False) -> None:
    """List model files other programs keep on this machine, ready to be imported."""
    from agentkit.models.found import found_models

    output = Output(as_json=as_json)
    files = found_models()
    output.json(
        {
            "found": [
                {
                    "owner": each.owner,
                    "name": each.name,
                    "path": str(each.path),
                    "size_bytes": each.size_bytes,
                    "suggested_name": each.suggested_name,
                }
                for each in files
            ]
        }
    )
    output.rows(
        ("of", "name", "size", "path"),
        [(each.owner, each.name, size(each.size_bytes), each.path) for each in files],
    )
    output.note("agentkit models import PATH shares one of them" if files else "no program here keeps any")


@app.command("show")
def show(name: Name, as_json: Json = False) -> None:
    """Show all there is to say of a stored model."""
    from agentkit.models.describe import describe
    from agentkit.models.profile import levers_of
    from agentkit.spawn import LocalSpawner

    output = Output(as_json=as_json)
    store = _store()
    model = store.get(name)
    levers = levers_of(store, model) if model.path.suffix == ".gguf" else None
    said = describe(model, LocalSpawner(), levers)
    output.json(said)
    output.rows(("", ""), _flat(said))


@app.command("import")
def import_file(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .gguf file, or the folder of a model of the catalogue.")
    ],
    name: OwnName = None,
    sha256: Sha256 = None,
    transfer: Annotated[
        Transfer, typer.Option(help="Share the file where the disk allows it, copy it, or move it.")
    ] = Transfer.LINK,
    as_json: Json = False,
) -> None:
    """Bring a model file into the store; its header is checked before anything is kept."""
    output = Output(as_json=as_json)
    with _progress(output, path.name) as on_progress:
        model = _store().import_file(
            path, name, transfer=transfer.value, sha256=sha256, on_progress=on_progress
        )
    output.json(_said(model))
    output.line(f"{model.name}: {size(model.size)}, {model.kind}, {_checked(model)}")


@app.command("verify")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Default: every model.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the hashes of stored models and compare them with what came in."""
    output = Output(as_json=as_json)
    store = _store()
    verified = []
    for name in names or [model.name for model in store.entries()]:
        with _progress(output, name) as on_progress:
            model = store.verify(name, on_progress)
        verified.append(_said(model))
        output.line(f"{name}: sha256 {model.sha256} is right")
    if not verified:
        raise NotFoundError(
            "there is no model in the store", hint="agentkit models pull smollm2-135m minilm-l6-v2"
        )
    output.json({"verified": verified})


@app.command("rm")
def remove(name: Name, as_json: Json = False) -> None:
    """Remove a model from the store."""
    output = Output(as_json=as_json)
    freed = _store().remove(name)
    output.json({"name": name, "freed_bytes": freed})
    output.line(f"removed {name}, {size(freed)}")


def _store() -> ModelStore:
    from agentkit.models.store import ModelStore
    from agentkit.paths import Home

    return ModelStore(Home.default().models)


@contextmanager
def _progress(output: Output, title: str) -> Iterator[OnProgress]:
    """Yield what shows a download, a copy or a check as it goes."""
    with output.meter(title, unit="bytes") as meter:

        def show(progress: Progress) -> None:
            meter.show(progress.done, progress.total or 0, progress.step)

        yield show


def _said(model: StoredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "size_bytes": model.size,
        "sha256": model.sha256,
        "checked_against": model.checked,
        "licence": model.licence,
        "context_tokens": model.context_tokens,
        "description": model.description,
        "source": model.source,
        "path": str(model.path),
    }


def _checked(model: StoredModel) -> str:
    return (
        "no hash was known to check it against"
        if model.checked == "nothing"
        else f"hash checked ({model.checked})"
    )


def _flat(said: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in said.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key} ")
        elif isinstance(value, list):
            rows += [(f"{prefix}{key}", " ".join(map(str, each.values()))) for each in value]
        else:
            rows.append((f"{prefix}{key}".replace("_", " "), str(value)))
    return rows
