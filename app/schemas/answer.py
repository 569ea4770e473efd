"""What every answer has in common."""

from pydantic import BaseModel, ConfigDict

API = "/api/v1"


class Answer(BaseModel):
    """What every answer is: facts of one moment."""

    model_config = ConfigDict(frozen=True)
