"""What clients of AUTOMATIC1111's API send and get, as that API names it.  Fields nobody knows are ignored."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.spec.fields import AnyPrompt, GuidanceScale, NumImages, Steps
from app.schemas.answer import Answer

MAX_SIDE = 4096

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Text = Annotated[str, Field(max_length=200)]
Base64 = Annotated[str, Field(description="a picture in base64, or a data: URI of it")]


def _saying(**example: Any) -> ConfigDict:
    return ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, json_schema_extra={"examples": [example]})


class OverridesIn(BaseModel):
    """Settings for one request alone; of them only the model is heard."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sd_model_checkpoint: Text | None = None


class AskedIn(BaseModel):
    """What pictures from words and pictures from pictures have in common.  Prompts are weighted."""

    model_config = _saying(prompt="a (fox:1.2) in the snow", steps=20, sampler_name="Euler a")

    prompt: AnyPrompt = ""
    negative_prompt: AnyPrompt | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(None, description="below 0: drawn, and told")
    sampler_name: Text | None = Field(None, description="a name of `samplers`; the model's own in place of any other")
    sampler_index: Text | None = Field(None, description="the same, as older clients say it")
    batch_size: NumImages = 1
    n_iter: NumImages = 1
    steps: Steps | None = None
    cfg_scale: GuidanceScale | None = None
    width: Side = 512
    height: Side = 512
    eta: float | None = Field(None, description="heard only where the sampler is DDIM")
    override_settings: OverridesIn | None = None
    send_images: bool = True


class Txt2ImgIn(AskedIn):
    """A picture from words."""

    enable_hr: bool = False
    hr_scale: Annotated[float, Field(ge=1, le=8)] = 2.0
    hr_resize_x: Annotated[int, Field(ge=0, le=MAX_SIDE)] = 0
    hr_resize_y: Annotated[int, Field(ge=0, le=MAX_SIDE)] = 0


class Img2ImgIn(AskedIn):
    """A picture from a picture and words; with a mask, only a part of it anew."""

    model_config = _saying(init_images=["iVBORw0KGgo..."], prompt="a fox at night", denoising_strength=0.6)

    init_images: list[Base64] = Field(min_length=1, max_length=1, repr=False)
    resize_mode: Annotated[int, Field(ge=0, le=3)] = Field(0, description="0: stretch, 1: crop, 2: fill; 3 is 0")
    denoising_strength: Annotated[float, Field(ge=0, le=1)] = 0.75
    mask: Base64 | None = Field(None, repr=False)
    mask_blur: Annotated[int, Field(ge=0)] | None = 4
    inpainting_mask_invert: Annotated[int, Field(ge=0, le=1)] = Field(0, description="1: black is painted anew")


class ExtraIn(BaseModel):
    """A picture that is to be enlarged."""

    model_config = _saying(image="iVBORw0KGgo...", upscaling_resize=2, upscaler_1="Lanczos")

    image: Base64 = Field(repr=False)
    resize_mode: Annotated[int, Field(ge=0, le=1)] = 0
    upscaling_resize: Annotated[float, Field(gt=0, le=8)] = 2.0
    upscaling_resize_w: Side = 512
    upscaling_resize_h: Side = 512
    upscaling_crop: bool = True
    upscaler_1: Text = "None"


class PngInfoIn(BaseModel):
    """A picture whose recipe is asked for."""

    model_config = _saying(image="iVBORw0KGgo...")

    image: Base64 = Field(repr=False)


class OptionsIn(OverridesIn):
    """Settings; of them only the model is heard."""

    model_config = _saying(sd_model_checkpoint="storybook")


class PicturesOut(Answer):
    """What was made of a request; `info` is JSON in a string."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class ExtraOut(Answer):
    """A picture that was enlarged, and how."""

    html_info: str
    image: str


class PngInfoOut(Answer):
    """The recipe in a picture: as it is written there, and taken apart."""

    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]


class StateOut(Answer):
    """What is done just now."""

    skipped: bool = False
    interrupted: bool
    stopping_generation: bool
    job: str
    job_count: int
    job_timestamp: str
    job_no: int = 0
    sampling_step: int
    sampling_steps: int


class ProgressOut(Answer):
    """How far the oldest job that has not ended is."""

    progress: float
    eta_relative: float
    state: StateOut
    current_image: str | None
    textinfo: str | None


class SamplerOut(Answer):
    """A sampler that may be named."""

    name: str
    aliases: list[str]
    options: dict[str, str] = Field({})


class SchedulerOut(Answer):
    """A spacing of steps that may be named."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float = -1.0
    need_inner_model: bool = False


class ModelOut(Answer):
    """A model that may be named."""

    title: str
    model_name: str
    hash: str | None
    sha256: str | None = None
    filename: str
    config: str | None = None


class UpscalerOut(Answer):
    """A way of making pictures larger that may be named."""

    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float


class ScriptsOut(Answer):
    """Scripts; there are none."""

    txt2img: list[str] = Field([])
    img2img: list[str] = Field([])


class EmbeddingsOut(Answer):
    """Embeddings; there are none."""

    loaded: dict[str, Any] = Field({})
    skipped: dict[str, Any] = Field({})


class MemoryOut(Answer):
    """Memory; it is told to whoever runs the service, in `/metrics`."""

    ram: dict[str, Any] = Field({"error": "unavailable"})
    cuda: dict[str, Any] = Field({"error": "unavailable"})


class SdapiErrorOut(Answer):
    """An error as that API writes it."""

    error: str = Field(examples=["Invalid"])
    detail: str = Field(examples=["steps must be at most 1000"])
    body: str = Field(description="always empty: nothing that was sent is repeated", examples=[""])
    errors: str = Field(examples=["steps must be at most 1000"])
