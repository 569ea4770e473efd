"""Latent diffusion as a library.

from models import TextToImage, load_pipeline

pipeline = load_pipeline("storybook")
images = pipeline.generate(TextToImage(prompt="a fox in the snow", seed=7))  # (1, 64, 64, 3) uint8
"""

from models.card import ModelCard
from models.catalogue import bundled_models, find_models, load_pipeline, survey_model
from models.checkpoints.survey import Survey
from models.errors import CheckpointError, ModelError, NonFinite, RequestError
from models.pipeline import Pipeline
from models.row import Row
from models.tasks import Decode, ImageToImage, Inpaint, Request, SuperResolution, TextToImage

__all__ = [
    "CheckpointError",
    "Decode",
    "ImageToImage",
    "Inpaint",
    "ModelCard",
    "ModelError",
    "NonFinite",
    "Pipeline",
    "Request",
    "RequestError",
    "Row",
    "SuperResolution",
    "Survey",
    "TextToImage",
    "bundled_models",
    "find_models",
    "load_pipeline",
    "survey_model",
]
