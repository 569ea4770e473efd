"""`darkroom-models`: train, export, draw and inspect models on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import typer
from PIL import Image

from models.catalogue import find_model, load_pipeline
from models.errors import ModelError
from models.tasks import TextToImage

if TYPE_CHECKING:
    from models.training.recipes import Run

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, export, draw and inspect diffusion models.")
train_cli = typer.Typer(
    no_args_is_help=True, help="Train one stage; an interrupted run resumes exactly; torchrun spreads it over GPUs."
)
cli.add_typer(train_cli, name="train")

ConfigFile = Annotated[Path, typer.Argument(help="The run's TOML file.", exists=True, dir_okay=False)]
RunFolder = Annotated[Path, typer.Option("--run", help="Where checkpoint, losses and sample grids go.")]
StartFolder = Annotated[Path | None, typer.Option("--from", help="Another run of this stage to start from.")]
StartModel = Annotated[Path | None, typer.Option("--from", help="A run of this stage, or a model, to start from.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: all.")]


@train_cli.command("autoencoder")
def train_autoencoder(
    config: ConfigFile,
    run: RunFolder,
    start: StartFolder = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Stage 1: pixels to latents and back. Ends by writing RUN/vae."""
    from models.training import recipes

    with _a_run(run, start, device, threads) as opened:
        psnr = recipes.train_autoencoder(config, opened)
        opened.report(f"held-out pictures: {psnr:.2f} dB; wrote {run / 'vae'}")


@train_cli.command("diffusion")
def train_diffusion(
    config: ConfigFile,
    run: RunFolder,
    autoencoder: Annotated[
        Path | None,
        typer.Option(help="A vae folder: RUN/vae of stage 1. Default: the model's of --from.", file_okay=False),
    ] = None,
    name: Annotated[str, typer.Option(help="What the model will be called.")] = "storybook",
    start: StartModel = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Stage 2: the UNet and the text encoder. Ends by writing RUN/NAME, a diffusers folder."""
    from models.training import recipes

    with _a_run(run, start, device, threads) as opened:
        recipes.train_diffusion(config, opened, autoencoder, name=name)
        opened.report(f"wrote {run / name}")


@train_cli.command("super-resolution")
def train_super_resolution(
    config: ConfigFile,
    run: RunFolder,
    autoencoder: Annotated[Path, typer.Option(help="A vae folder: RUN/vae of stage 1.", exists=True, file_okay=False)],
    name: Annotated[str, typer.Option(help="What the model will be called.")] = "storybook-x4",
    start: StartFolder = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """An upscaler. Ends by writing RUN/NAME, a diffusers folder."""
    from models.training import recipes

    with _a_run(run, start, device, threads) as opened:
        recipes.train_super_resolution(config, opened, autoencoder, name=name)
        opened.report(f"wrote {run / name}")


@train_cli.command("end-to-end")
def train_end_to_end(
    config: ConfigFile,
    run: RunFolder,
    start: Annotated[Path, typer.Option("--from", help="The upscaler to begin with.", exists=True, file_okay=False)],
    name: Annotated[str, typer.Option(help="What the model will be called.")] = "storybook-x4",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """An upscaler, by the pixels that it makes. Ends by writing RUN/NAME, a diffusers folder."""
    from models.training import recipes

    with _a_run(run, start, device, threads) as opened:
        recipes.train_end_to_end(config, opened, name=name)
        opened.report(f"wrote {run / name}")


@train_cli.command("classifier")
def train_classifier(
    config: ConfigFile,
    run: RunFolder,
    start: StartFolder = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """The judge that FID and its kin look through. Ends by writing RUN/classifier.safetensors."""
    from models.training import recipes

    with _a_run(run, start, device, threads) as opened:
        share = recipes.train_classifier(config, opened)
        opened.report(f"fresh scenes named rightly: {100 * share:.1f} %; wrote {run / 'classifier.safetensors'}")


@cli.command()
def render(
    out: Annotated[Path, typer.Argument(help="A contact sheet (.png), or a folder for pictures with captions.")],
    scenes: Annotated[str, typer.Option(help="A stage of the curriculum: a, b or c.")] = "a",
    count: Annotated[int, typer.Option(min=1, max=1_000_000)] = 48,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Pixels of a side.")] = 128,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    split: Annotated[str, typer.Option(help="train or held_out.")] = "train",
) -> None:
    """Draw training scenes with their captions: on a contact sheet, or into a folder with a metadata.jsonl."""
    from models.training.rendering import write_folder, write_sheet
    from models.training.stages import STAGES

    if scenes not in STAGES:
        raise typer.BadParameter(f"scenes must be one of {sorted(STAGES)}, got {scenes!r}")
    write = write_sheet if out.suffix.lower() == ".png" else write_folder
    with _mistakes_told():
        write(out, STAGES[scenes], range(seed, seed + count), size, split)
    typer.echo(f"wrote {out}")


@cli.command()
def draw(
    prompt: str,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("picture.png"),
    model: Annotated[str, typer.Option(help="A bundled name or a folder.")] = "storybook",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    guidance_scale: Annotated[float | None, typer.Option(min=0.0, max=50.0)] = None,
    device: Device = "cpu",
) -> None:
    """Draw one picture of a prompt."""
    with _mistakes_told():
        pipeline = load_pipeline(model, device=device)
        request = TextToImage(prompt=prompt, seed=seed, num_steps=steps, guidance_scale=guidance_scale)
        picture = pipeline.generate(request)[0]
    Image.fromarray(picture).save(out)
    typer.echo(f"wrote {out}")


@cli.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled name or a folder.")] = "storybook",
    scenes: Annotated[str, typer.Option(help="The stage of the curriculum that it was trained on.")] = "a",
    count: Annotated[int, typer.Option(min=1, help="Captions or pictures of each kind.")] = 200,
    write: Annotated[bool, typer.Option(help="Write evaluation.json and the model card's tables into it.")] = False,
    device: Device = "cpu",
) -> None:
    """Measure everything that a storybook model does; prints Markdown tables."""
    from models.evaluation import score_card
    from models.training.stages import STAGES

    if scenes not in STAGES:
        raise typer.BadParameter(f"scenes must be one of {sorted(STAGES)}, got {scenes!r}")
    with _mistakes_told():
        card = score_card.score(load_pipeline(model, device=device), STAGES[scenes], count=count, report=_tell)
        if write:
            score_card.write(card, find_model(model))
    typer.echo(score_card.markdown(card))


@cli.command()
def inspect(model: Annotated[str, typer.Argument(help="A bundled name, a folder or a file.")]) -> None:
    """Tell what a model is, from its configs and headers alone; exits with 1 if it cannot be loaded."""
    from models.checkpoints.description import describe

    with _mistakes_told():
        description = describe(find_model(model))
    for name, said in description.facts:
        typer.echo(f"{name:<13} {said}")
    for problem in description.problems:
        typer.echo(f"broken        {problem}", err=True)
    if description.problems:
        raise typer.Exit(1)


def main() -> None:
    """The console script."""
    cli()


@contextmanager
def _a_run(folder: Path, start: Path | None, device: str, threads: int | None) -> Iterator[Run]:
    """A run in this process, or in this and the others that torchrun started; only the first of them reports."""
    from models.training.parallel import joined_group
    from models.training.recipes import Run

    if threads is not None:
        torch.set_num_threads(threads)
    with _mistakes_told(), joined_group(torch.device(device)) as (group, own_device):
        yield Run(folder, own_device, typer.echo if group.is_first else _keep_silent, start, group)


@contextmanager
def _mistakes_told() -> Iterator[None]:
    """What was wrong with what was asked is a sentence on the terminal, not a stack of lines of code."""
    try:
        yield
    except (ModelError, ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error


def _tell(line: str) -> None:
    """Progress goes to stderr, so that stdout holds nothing but the result."""
    typer.echo(line, err=True)


def _keep_silent(line: str) -> None:
    """What all but the first of several processes have to say."""


if __name__ == "__main__":
    main()
