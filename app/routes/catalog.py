"""What may be named in a job: models and samplers, as workers registered them."""

from fastapi import APIRouter

from app import desk
from app.deps import Inside
from app.errors import NoModels, documented
from app.schemas import API, ModelOut, ModelsOut, SamplerOut, SamplersOut

router = APIRouter(prefix=API, tags=["catalogue"], responses=documented(NoModels))


@router.get("/models", operation_id="listModels")
def models(house: Inside) -> ModelsOut:
    """Every model a job may name, also those that no worker serves just now."""
    defaults = {task: entry.name for task, entry in desk.default_models(house).items()}
    workers = house.store.workers_alive()
    return ModelsOut(items=[ModelOut.of(entry, workers, defaults) for entry in house.store.catalogue()])


@router.get("/samplers", operation_id="listSamplers")
def samplers(house: Inside) -> SamplersOut:
    """Every sampler a job may name, and the models that offer it."""
    catalogue = house.store.catalogue()
    names = sorted({sampler for entry in catalogue for sampler in entry.samplers})
    return SamplersOut(
        items=[
            SamplerOut(
                name=name,
                models=[entry.name for entry in catalogue if name in entry.samplers],
                default_of=[entry.name for entry in catalogue if name == entry.defaults.sampler],
            )
            for name in names
        ]
    )
