"""The engine: many jobs' images share the device, step by step. It knows pipelines and rows, and nothing of jobs.

work      what is developed, and whom it tells
turns     whose rows take the next step: fair between owners, models and shapes, in cost
buckets   how many rows a step may take, and what becomes of that when memory runs out
errands   what is done beside the steps: encoding, and bringing models in
loop      the thread that steps and decodes
"""

from worker.engine.buckets import SIZES, Buckets, rows_that_pay
from worker.engine.loop import STEPS_OF_SILENCE, Engine
from worker.engine.work import AllHere, Model, Presence, Seconds, Work

__all__ = [
    "SIZES",
    "STEPS_OF_SILENCE",
    "AllHere",
    "Buckets",
    "Engine",
    "Model",
    "Presence",
    "Seconds",
    "Work",
    "rows_that_pay",
]
