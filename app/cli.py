"""`darkroom`: the service from a terminal."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.jobs.failures import JobsError
from app.jobs.settings import load_settings
from app.supervisor.errors import UpError

# Each command imports what it needs when it runs: `--help` is there at once, and `up` stays small.
cli = typer.Typer(
    help="Develop pictures from words. Settings come from DARKROOM_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

keys = typer.Typer(help="Who may use the service.", no_args_is_help=True)
cli.add_typer(keys, name="keys")


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


@cli.command()
def models() -> None:
    """List the models that workers have registered."""
    from app.jobs.store import open_store

    settings = load_settings()
    catalogue = open_store(settings).catalogue()
    for entry in catalogue:
        mark = "*" if entry.name == settings.default_model else " "
        size, tasks = f"{entry.native_width}x{entry.native_height}", ", ".join(entry.tasks)
        typer.echo(f"{mark} {entry.name}  {entry.revision}  {size}  {tasks}  {entry.licence}")
    if not catalogue:
        _complain("No worker has registered a model yet: `darkroom up` starts one.")
        raise typer.Exit(1)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is: jobs and images belong to this name.")],
    admin: Annotated[bool, typer.Option("--admin", help="The name sees everybody's jobs and images.")] = False,
    weight: Annotated[float | None, typer.Option(help="The name's share of the service; 1 unless you say so.")] = None,
) -> None:
    """Make a key and print it: this once, for only its digest is kept."""
    from app.jobs.store import migrate as to_newest
    from app.jobs.store import open_store

    settings = load_settings()
    to_newest(settings)
    made = open_store(settings).keys.create(name, is_admin=admin, weight=weight)
    typer.echo(made.token)


@keys.command("list")
def list_keys() -> None:
    """List every key, without its secret."""
    from app.jobs.store import open_store

    for key in open_store(load_settings()).keys.all():
        rights = "admin" if key.principal.is_admin else "user"
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
        end = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else used
        typer.echo(f"{key.id}  {key.principal.name}  {rights}  made {key.created_at:%Y-%m-%d %H:%M}  {end}")


@keys.command("revoke")
def revoke_key(id: Annotated[str, typer.Argument(help="What `keys list` shows first.")]) -> None:
    """Let nobody in with this key any more."""
    from app.jobs.store import open_store

    open_store(load_settings()).keys.revoke(id)
    typer.echo(f"{id} is revoked.")


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from app.main import create_app

    typer.echo(json.dumps(create_app(load_settings()).openapi(), indent=2))


def _complain(text: str) -> None:
    typer.secho(f"darkroom: {text}", err=True, fg=typer.colors.RED)


if __name__ == "__main__":
    main()
