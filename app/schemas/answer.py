"""What every answer has in common."""

from pydantic import BaseModel, ConfigDict

API = "/api/v1"


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)
