"""How a claimed job begins: the first work that it gives to the engine, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from app.jobs.spec import DecodeParams, TextToImageParams, VerifyParams
from worker.developing import Development, Outlet
from worker.engine import Model, Work
from worker.enlarging import SecondStage
from worker.leases import Lease
from worker.reporting import Reporter
from worker.requests import Inputs, decoding, enlargement, request_of

if TYPE_CHECKING:
    import numpy as np


class Pipelines(Protocol):
    """Where pipelines are found, and what their errors mean."""

    def pipeline(self, name: str) -> Model:
        """The pipeline of this name."""

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether the device had too little memory."""


def begin(
    lease: Lease,
    outlet: Outlet,
    inputs: Inputs,
    pipelines: Pipelines,
    reporter: Reporter,
    submit: Callable[[Work], None],
) -> None:
    """Have the job of `lease`, which is made from `inputs`, developed; what comes of it goes to `outlet`.

    `submit` gives work to the engine.
    """
    work = partial(Development, lease, reporter, pipelines.is_out_of_memory)
    params = lease.claim.params
    if isinstance(params, DecodeParams):
        pipeline = pipelines.pipeline(params.model)
        submit(work(pipeline, decoding(params, inputs), outlet, step_cost=float(params.pixels)))
        return
    recipe = params.recipe if isinstance(params, VerifyParams) else params
    if isinstance(recipe, TextToImageParams) and recipe.upscaler is not None:
        outlet = _second_stage(work, recipe, outlet, pipelines, submit)
    submit(
        work(
            pipelines.pipeline(recipe.model),
            request_of(recipe, inputs),
            outlet,
            step_cost=float(recipe.pixels),
            keeps_steps=recipe.save_trajectory,
        )
    )


def _second_stage(
    work: Callable[..., Development],
    params: TextToImageParams,
    outlet: Outlet,
    pipelines: Pipelines,
    submit: Callable[[Work], None],
) -> SecondStage:
    def enlarge(larger: Outlet, index: int, seed: int, pixels: np.ndarray) -> Development:
        return work(
            pipelines.pipeline(str(params.second_model)),
            enlargement(params, pixels, seed),
            larger,
            step_cost=float(params.enlarged_pixels),
            keeps_steps=params.save_trajectory,
            first_index=index,
            first_step=params.steps,
        )

    return SecondStage(outlet, params.num_images, enlarge, submit)
