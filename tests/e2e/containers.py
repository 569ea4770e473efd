"""Dockerfile and docker-compose.yml, read as a container engine reads them, as far as ours need it."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")
UNITS = {"s": 1, "m": 60}


@dataclass
class Image:
    """What a stage of the Dockerfile ends up as."""

    environment: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[list[str], str]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    user: str = "root"
    stop_signal: str = ""


def read_images(dockerfile: str) -> dict[str, Image]:
    """Every stage by name, with what it inherits.  Fails at an instruction that it does not know."""
    images: dict[str, Image] = {}
    image = Image()
    for instruction, rest in _instructions(dockerfile):
        match instruction:
            case "FROM":
                base, _, name = rest.partition(" AS ")
                above = images.get(base, Image())
                image = Image(
                    dict(above.environment), list(above.copies), [*above.stages, name], above.command,
                    above.healthcheck, above.user, above.stop_signal,
                )  # fmt: skip
                images[name] = image
            case "ENV":
                image.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "COPY" if rest.startswith("--from="):
                image.stages += images[rest.split()[0].removeprefix("--from=")].stages
            case "COPY":
                *sources, target = rest.split()
                image.copies.append((sources, target))
            case "CMD":
                image.command = json.loads(rest)
            case "HEALTHCHECK":
                image.healthcheck = json.loads(rest.partition("CMD ")[2])
            case "USER":
                image.user = rest
            case "STOPSIGNAL":
                image.stop_signal = rest
            case _:
                assert instruction in {"ARG", "EXPOSE", "RUN", "VOLUME", "WORKDIR"}, instruction
    return images


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", "")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines())]


def read_services(compose: str, given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every service by name, its variables replaced.  Raises: KeyError for one that is needed and not given."""
    services = yaml.safe_load(compose)["services"]
    return {name: _filled(service, given) for name, service in services.items()}


def _filled(part: Any, given: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {name: _filled(value, given) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, given) for value in part]
    return VARIABLE.sub(lambda match: _value(match, given), part) if isinstance(part, str) else part


def _value(match: re.Match[str], given: Mapping[str, str]) -> str:
    name, kind, rest = match.groups()
    return given.get(name) or rest if kind == "-" else given[name]


def seconds(text: str) -> float:
    """A duration as the compose file writes it."""
    return float(text[:-1]) * UNITS[text[-1]]
