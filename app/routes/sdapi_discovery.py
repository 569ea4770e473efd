"""AUTOMATIC1111's API: what its clients ask for before they make a picture, most of it a list of nothing."""

from typing import Any

from fastapi import APIRouter, Depends

from app import desk
from app.deps import House, Inside, Owner, json_only
from app.dialects import sdapi, sdapi_extra
from app.errors import Invalid, Unavailable, UnsupportedMedia, documented
from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import SpecError
from app.schemas.sdapi import (
    EmbeddingsOut,
    MemoryOut,
    ModelOut,
    OptionsIn,
    SamplerOut,
    SchedulerOut,
    ScriptsOut,
    UpscalerOut,
)

PREFIX = "/sdapi/v1"

# Clients ask for each of these when they start, and give up on an error.
NOTHING = (
    "loras",
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "prompt-styles",
    "latent-upscale-modes",
    "sd-vae",
    "sd-modules",
    "script-info",
    "extensions",
)
HARMLESS = ("refresh-checkpoints", "refresh-loras", "refresh-vae", "refresh-embeddings")

router = APIRouter(prefix=PREFIX, tags=["A1111 dialect"], responses=documented(Invalid, Unavailable))


@router.get("/samplers", operation_id="sdapiSamplers")
def samplers(house: Inside) -> list[SamplerOut]:
    """Every sampler that some model offers."""
    offered = sorted({sampler for entry in house.store.catalogue() for sampler in entry.samplers})
    names = (sdapi.sampler_names(sampler) for sampler in offered)
    return [SamplerOut(name=name, aliases=aliases) for name, aliases in names]


@router.get("/schedulers", operation_id="sdapiSchedulers")
def schedulers() -> list[SchedulerOut]:
    """The one spacing of steps there is: each model's own."""
    return [SchedulerOut(name="automatic", label="Automatic")]


@router.get("/sd-models", operation_id="sdapiModels")
def models(house: Inside) -> list[ModelOut]:
    """Every model that makes pictures from words."""
    return [
        ModelOut(title=sdapi.title_of(entry), model_name=entry.name, hash=entry.revision[:10], filename=entry.name)
        for entry in _models(house)
    ]


@router.get("/upscalers", operation_id="sdapiUpscalers")
def upscalers(house: Inside) -> list[UpscalerOut]:
    """Ways of making a picture larger: by scaling, and every model that does."""
    plain = [UpscalerOut(name=name, scale=4) for name in sdapi_extra.PLAIN]
    made = [UpscalerOut(name=e.name, model_name=e.name, scale=e.scale or 1) for e in sdapi_extra.upscalers(house)]
    return plain + made


@router.get("/options", operation_id="sdapiOptions")
def options(house: Inside, owner: Owner) -> dict[str, Any]:
    """The settings that clients look for."""
    chosen = sdapi.find_model(_models(house), house.store.dialects.chosen_model(sdapi.NAME, owner))
    entry = chosen or desk.default_model(house, "text_to_image")
    return {
        "sd_model_checkpoint": sdapi.title_of(entry),
        "sd_checkpoint_hash": entry.revision,
        "sd_vae": "Automatic",
        "samples_format": "png",
        "live_previews_image_format": "png",
        "CLIP_stop_at_last_layers": 1,
        "eta_noise_seed_delta": 0,
    }


@router.post(
    "/options",
    operation_id="sdapiSetOptions",
    dependencies=[Depends(json_only)],
    responses=documented(UnsupportedMedia),
)
def set_options(said: OptionsIn, house: Inside, owner: Owner) -> None:
    """Choose the model for all that you ask for here from now on; every other setting is ignored."""
    if said.sd_model_checkpoint is None:
        return
    entry = sdapi.find_model(_models(house), said.sd_model_checkpoint)
    if entry is None:
        offered = ", ".join(sdapi.title_of(entry) for entry in _models(house))
        raise SpecError("sd_model_checkpoint", said.sd_model_checkpoint, f"must be one of {offered}")
    house.store.dialects.choose_model(sdapi.NAME, owner, entry.name)


@router.get("/cmd-flags", operation_id="sdapiFlags")
def flags() -> dict[str, Any]:
    """The flags that clients look for."""
    return {"api": True, "nowebui": False, "lowvram": False, "medvram": False}


@router.get("/scripts", operation_id="sdapiScripts")
def scripts() -> ScriptsOut:
    """Scripts; there are none."""
    return ScriptsOut()


@router.get("/embeddings", operation_id="sdapiEmbeddings")
def embeddings() -> EmbeddingsOut:
    """Embeddings; there are none."""
    return EmbeddingsOut()


@router.get("/memory", operation_id="sdapiMemory")
def memory() -> MemoryOut:
    """Memory, of which nothing is told here."""
    return MemoryOut()


def _models(house: House) -> list[CatalogueEntry]:
    return [entry for entry in house.store.catalogue() if "text_to_image" in entry.tasks]


def _nothing() -> list[str]:
    """A list that clients ask for; it is empty."""
    return []


def _done() -> None:
    """Nothing needs to be read again: workers say themselves what they serve."""


for _name in NOTHING:
    router.get(f"/{_name}", operation_id=f"sdapi{_name.title().replace('-', '')}")(_nothing)
for _name in HARMLESS:
    router.post(f"/{_name}", operation_id=f"sdapi{_name.title().replace('-', '')}")(_done)
