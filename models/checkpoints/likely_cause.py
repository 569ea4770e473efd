"""Why weights do not fit: what their keys look like, for people who took the wrong file."""

from __future__ import annotations

from collections.abc import Sequence

# The first pattern that a key contains decides; the telling ones come first.
_SIGNS = (
    ("lora", "a LoRA: a small change to a model, not a model"),
    ("hada_", "a LyCORIS: a small change to a model, not a model"),
    ("motion_modules", "a motion module of AnimateDiff"),
    ("controlnet_", "a ControlNet, which steers a model and is not one"),
    ("conditioner.embedders.", "a single-file Stable Diffusion XL checkpoint, not one component of a diffusers folder"),
    ("model.diffusion_model.", "a single-file checkpoint, not one component of a diffusers folder"),
    ("first_stage_model.", "a single-file checkpoint, not one component of a diffusers folder"),
    ("cond_stage_model.", "a single-file checkpoint, not one component of a diffusers folder"),
    ("add_embedding.", "the UNet of Stable Diffusion XL"),
    ("double_blocks.", "a transformer of the Flux family, not a UNet"),
    ("joint_blocks.", "a transformer of Stable Diffusion 3, not a UNet"),
    ("input_blocks.", "a UNet in the layout of CompVis' latent-diffusion, not of diffusers"),
    ("output_blocks.", "a UNet in the layout of CompVis' latent-diffusion, not of diffusers"),
    ("decoder.up.", "an autoencoder in the layout of CompVis' latent-diffusion, not of diffusers"),
    ("encoder.down.", "an autoencoder in the layout of CompVis' latent-diffusion, not of diffusers"),
    ("quantize.embedding", "a VQ autoencoder, which is not built here yet"),
    ("transformer.resblocks.", "a text encoder in the layout of OpenCLIP, not of transformers"),
    ("vision_model.", "the whole of CLIP, not its text encoder alone"),
    ("text_projection.", "a text encoder with projection, as Stable Diffusion XL has"),
    ("time_embedding.", "a UNet"),
    ("post_quant_conv.", "an autoencoder"),
    ("token_embedding.", "a text encoder"),
    ("_orig_mod.", "weights saved from a compiled network: take that prefix off"),
)


def looks_like(keys: Sequence[str]) -> str | None:
    """What a file with these keys is, as far as they tell."""
    lowered = [key.lower() for key in keys]
    return next((said for sign, said in _SIGNS if any(sign in key for key in lowered)), None)


def likely_cause(strangers: Sequence[str], problems: Sequence[str]) -> str | None:
    """One sentence on why weights do not fit a config, or None where nothing is typical.

    strangers: the keys that no network wanted; problems: one phrase for each key that is missing, unknown or unfit.
    """
    said = looks_like(strangers)
    if said is not None:
        return f"This looks like {said}"
    unfit = [problem for problem in problems if " is (" in problem]
    if len(unfit) == len(problems) and all(problem.startswith("conv_in.weight ") for problem in unfit):
        return "Only the input channels differ: the config is that of another task (4 text, 7 upscaler, 9 inpainting)"
    if unfit and all(".proj_in." in problem or ".proj_out." in problem for problem in unfit):
        return "Only the projections differ: use_linear_projection is true for Stable Diffusion 2, false for 1"
    if all(" is stored as " in problem for problem in problems):
        return "This looks like quantised weights: take those in half or single precision"
    if all(problem.startswith("missing ") for problem in problems):
        return "Keys are only missing: a shard was left out, or the config is that of a larger model"
    return None
