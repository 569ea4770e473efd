"""`darkroom`: the service from a terminal."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.jobs.failures import JobsError
from app.jobs.settings import load_settings
from app.key_commands import keys
from app.supervisor.errors import UpError

# Each command imports what it needs when it runs: `--help` is there at once, and `up` stays small.
cli = typer.Typer(
    help="Develop pictures from words. Settings come from DARKROOM_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

cli.add_typer(keys, name="keys")

models = typer.Typer(help="What can be asked for, and what lies ready for workers.", invoke_without_command=True)
cli.add_typer(models, name="models")


def main() -> None:
    """Run the command line; an error that is made for people ends it in a sentence and exit code 1."""
    try:
        cli()
    except (UpError, JobsError) as error:
        _complain(str(error))
        raise SystemExit(1) from None


@cli.command()
def up() -> None:
    """Start everything (Valkey, a worker, the API) and stay until Ctrl-C."""
    from app.supervisor.up import up as run

    raise typer.Exit(run(load_settings(), say=typer.echo, complain=_complain))


@cli.command()
def api(
    fd: Annotated[int | None, typer.Option(hidden=True, help="A listening socket, inherited.")] = None,
    open_to_strangers: Annotated[
        bool, typer.Option(help="Listen beyond loopback though there are no keys; something else guards it.")
    ] = False,
    first_key: Annotated[
        Path | None,
        typer.Option(help="Beyond loopback, where no key was ever made: make an admin's, write it to this file."),
    ] = None,
) -> None:
    """Start the API alone; what it needs may come later."""
    from app.server import serve
    from app.supervisor.first_key import make_first_key
    from app.supervisor.preflight import refuse_strangers

    settings = load_settings()
    if first_key is not None:
        make_first_key(settings, first_key.absolute(), say=typer.echo)
    if not open_to_strangers:
        refuse_strangers(settings, unknown_is_none=False)
    serve(settings, fd, open_to_strangers=open_to_strangers)


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from app.jobs.store import migrate as to_newest

    to_newest(load_settings())


@models.callback()
def look_at_models(context: typer.Context) -> None:
    """List the models, where nothing else is asked."""
    if context.invoked_subcommand is None:
        list_models()


@models.command("list")
def list_models() -> None:
    """List the models that workers have registered, and those that lie in DARKROOM_MODELS_DIR for the next worker."""
    from app import shelf
    from app.jobs.store import open_store

    settings = load_settings()
    store = open_store(settings)
    catalogue, workers, default = store.catalogue(), store.workers_alive(), store.ledger.default_model()
    for entry in catalogue:
        mark = "*" if entry.name == default else " "
        size, tasks = f"{entry.native_width}x{entry.native_height}", ", ".join(entry.tasks)
        serving = sum(entry.name in worker.models for worker in workers)
        typer.echo(f"{mark} {entry.name}  {entry.revision}  {size}  {tasks}  {entry.licence}  workers: {serving}")
    known = {entry.name for entry in catalogue}
    waiting = [name for name in shelf.names(settings) if name not in known]
    for name in waiting:
        typer.echo(f"  {name}  in {settings.models_dir}; a worker that starts from now on offers it")
    if not catalogue and not waiting:
        _complain("No worker has registered a model yet: `darkroom up` starts one.")
        raise typer.Exit(1)


@models.command("add")
def add_model(
    model: Annotated[str, typer.Argument(help="A diffusers folder, or the name of one in the Hugging Face cache.")],
    name: Annotated[str | None, typer.Option(help="What its folder will be called; else its own name.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Point to it where it is instead of copying it.")] = False,
) -> None:
    """Put a model into DARKROOM_MODELS_DIR, where workers look when they start."""
    from app import shelf

    added = shelf.add(load_settings(), model, name, link=link)
    typer.echo(f"{added} is there. Workers offer it once they are restarted.")


@models.command("default")
def choose_model(name: Annotated[str, typer.Argument(help="A model that `models list` shows.")]) -> None:
    """Take this model for whoever names none, in every process whose environment has no DARKROOM_DEFAULT_MODEL."""
    from app import shelf
    from app.jobs.failures import UnknownModel
    from app.jobs.store import open_store

    settings = load_settings()
    store = open_store(settings)
    known = sorted({*store.known_models(), *shelf.names(settings)})
    if name not in known:
        raise UnknownModel(name, known)
    store.ledger.choose_default_model(name)
    typer.echo(f"{name} is the default.")
    if (said := store.ledger.default_model()) != name:
        _complain(f"But here DARKROOM_DEFAULT_MODEL is {said}, and wins.")


@cli.command()
def prune(
    older_than: Annotated[str, typer.Option(help="How long ago they ended, at least: 30d, 12h.")] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Delete jobs that ended long ago, with their images, forgotten studies, and files that nothing needs."""
    from app import retention
    from app.jobs.storage import open_storage
    from app.jobs.store import open_store

    settings = load_settings()
    seconds = retention.seconds(older_than)
    storage = open_storage(settings.resolved_storage_url)
    gone = retention.prune(open_store(settings), storage, seconds, dry_run=dry_run)
    what = f"{gone.jobs} jobs with {gone.images} images and {gone.studies} studies in {gone.files} files"
    if dry_run:
        typer.echo(f"Would delete {what}.")
    else:
        typer.echo(f"Deleted {what}, and {gone.orphans} files that nothing needed.")


@cli.command()
def openapi(
    file: Annotated[Path | None, typer.Argument(help="Write it there instead of printing it.")] = None,
) -> None:
    """Print the OpenAPI document."""
    from app.main import create_app

    text = json.dumps(create_app(load_settings()).openapi(), indent=2)
    if file is None:
        typer.echo(text)
    else:
        file.write_text(text + "\n")


def _complain(text: str) -> None:
    typer.secho(f"darkroom: {text}", err=True, fg=typer.colors.RED)


if __name__ == "__main__":
    main()
