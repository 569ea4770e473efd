"""A recipe as A1111 and its kin write it, for people and for tools: the infotext, both ways."""

import json
import re
from collections.abc import Mapping

from app.jobs.recipe.recipe import MAX_TEXT_LENGTH, NoRecipe, Recipe

SAMPLERS_OF_A1111 = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "lcm": "LCM",
}
"""Our name of a sampler -> the name that A1111 shows. A sampler missing here goes by its own name."""

MAX_SETTINGS_LENGTH = 4096

# "Name: value" or "Name: "quoted value"", parted by commas: the last line of an infotext.
SETTING = re.compile(r'\s*(\w[\w \-/]++):\s*("(?:\\.|[^\\"])++"|[^,]*+)(?:,|$)')


def infotext(recipe: Recipe) -> str:
    """The recipe as A1111 writes it: the prompt, "Negative prompt: ...", and one line of settings."""
    size = None if recipe.width is None or recipe.height is None else f"{recipe.width}x{recipe.height}"
    sampler = None if recipe.sampler is None else SAMPLERS_OF_A1111.get(recipe.sampler, recipe.sampler)
    settings = {
        "Steps": recipe.steps,
        "Sampler": sampler,
        "CFG scale": recipe.guidance_scale,
        "Seed": recipe.seed,
        "Size": size,
        "Model hash": recipe.revision,
        "Model": recipe.model,
        "Eta DDIM": None if recipe.eta == 0 else recipe.eta,
        "Denoising strength": recipe.strength,
        "Mask blur": recipe.feather,
        "Hires upscale": None if recipe.upscale == 1 else recipe.upscale,
        "Hires steps": None if recipe.upscaler is None else recipe.upscaler.steps,
        "Hires upscaler": None if recipe.upscaler is None else recipe.upscaler.model,
        "Postprocess upscale by": recipe.scale,
        "Init image hash": recipe.image,
        "Mask hash": recipe.mask,
    }
    said = ", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items() if value is not None)
    negative = [f"Negative prompt: {recipe.negative_prompt}"] if recipe.negative_prompt else []
    return "\n".join([recipe.prompt, *negative, said])


def parse_infotext(text: str) -> Recipe:
    """What A1111's own reader would find in `text`; a setting that makes no sense counts as not said.

    Text without settings is all prompt. Raises: NoRecipe if the text is longer than any recipe.
    """
    prompt, negative, said = split_infotext(text)
    width, height = _size(said.get("Size", ""))
    sampler = said.get("Sampler")
    return Recipe(
        task=_task(said),
        prompt=prompt,
        negative_prompt=negative,
        model=said.get("Model"),
        revision=said.get("Model hash"),
        width=width,
        height=height,
        steps=_integer(said.get("Steps", "")),
        guidance_scale=_number(said.get("CFG scale", "")),
        sampler=next((ours for ours, theirs in SAMPLERS_OF_A1111.items() if theirs == sampler), sampler),
        eta=_number(said.get("Eta DDIM", "")),
        seed=_integer(said.get("Seed", "")),
        image=said.get("Init image hash"),
        mask=said.get("Mask hash"),
        feather=_integer(said.get("Mask blur", "")),
        strength=_number(said.get("Denoising strength", "")),
        scale=_integer(said.get("Postprocess upscale by", "")),
        upscale=_integer(said.get("Hires upscale", "")),
    )


def split_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings in a text, as A1111's own reader finds them.

    Raises: NoRecipe if the text is longer than any recipe.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise NoRecipe(f"an infotext has at most {MAX_TEXT_LENGTH} characters, got {len(text)}")
    *lines, last = text.strip().split("\n")
    settings = dict(SETTING.findall(last)) if len(last) <= MAX_SETTINGS_LENGTH else {}
    # A1111's rule: fewer than three settings are no settings, but the end of the prompt.
    if len(settings) < 3:
        lines.append(last)
        settings = {}
    start = next((i for i, line in enumerate(lines) if line.strip().startswith("Negative prompt:")), len(lines))
    negative = "\n".join(line.strip() for line in lines[start:]).removeprefix("Negative prompt:").strip()
    prompt = "\n".join(line.strip() for line in lines[:start])
    return prompt, negative, {name: _unquoted(value) for name, value in settings.items()}


def _quoted(value: str | int | float) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,\n:"]', text) else text


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _task(said: Mapping[str, str]) -> str:
    """Which task the settings are of, as far as A1111 tells them apart."""
    if "Mask blur" in said or "Mask hash" in said:
        return "inpaint"
    if "Init image hash" in said and "Postprocess upscale by" in said:
        return "super_resolution"
    # A picture from words that was enlarged names a strength as well.
    if "Denoising strength" in said and "Hires upscale" not in said:
        return "image_to_image"
    return "text_to_image"


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text) else None


def _size(text: str) -> tuple[int, int] | tuple[None, None]:
    sides = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text)
    return (int(sides[1]), int(sides[2])) if sides else (None, None)
