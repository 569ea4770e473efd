"""What is thrown at the service: requests that its own description allows, and ones that it does not.

Each answer is held against the description: no status that is not written there, no 5xx but a 503 that is, every
body and header of the shape that was promised, nothing impossible accepted, and no way past the key.
"""

import warnings
from collections import Counter
from contextlib import suppress
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from tests.fuzz.household import Household

# A 503 that is described is no defect; `no_defect` stands in for the first.  What the catalogue alone knows (which
# model, which size, whose picture) no schema can say, so a wish that fits the schema may yet be refused.
# A key may be shown in three ways, and one that is right lets in beside another that is wrong.
LEFT_OUT = ("not_a_server_error", "positive_data_acceptance", "ignored_auth")

# An event stream lasts as long as its job, and the hands that develop are quick.
PATIENCE_S = 20

TALLY: Counter[str] = Counter()
"""How often each operation was answered with each status."""

warnings.filterwarnings("ignore", module="schemathesis")


def no_defect(context: CheckContext, response: Response, case: Case) -> None:
    """No 5xx but a 503, which says when to come again."""
    TALLY[f"{case.operation.label} {response.status_code}"] += 1
    assert response.status_code < 500 or response.status_code == 503, response.text
    assert response.status_code != 503 or "retry-after" in response.headers


def checks() -> list[Any]:
    """Everything an answer is held against."""
    load_all_checks()
    return [no_defect, *(CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT)]


def load(house: Household) -> Any:
    """The service's description, as it serves it, ready to be tried with the key."""
    config = SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Bearer {house.key}"},
            "request-timeout": PATIENCE_S,
            "parameters": {"header.Authorization": f"Bearer {house.key}"},
        }
    )
    return schemathesis.openapi.from_url(f"{house.url}/openapi.json", config=config)


def try_each_operation(schema: Any, cases: int, number: int) -> None:
    """So many requests in all, the same number to every operation, half of them impossible."""
    operations = [found.ok() for found in schema.get_all_operations()]
    each = max(1, cases // (2 * len(operations)))
    for operation in operations:
        _try(operation, GenerationMode.POSITIVE, each, number)
        # What takes nothing cannot be asked wrongly.
        if {"parameters", "requestBody"} & set(operation.definition.raw):
            # Nor what takes any text at all.
            with suppress(Unsatisfiable):
                _try(operation, GenerationMode.NEGATIVE, each, number)


def _try(operation: Any, mode: GenerationMode, examples: int, number: int) -> None:
    wanted = checks()

    @seed(number)
    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        case.call_and_validate(checks=wanted)

    run()


def walk(schema: Any, walks: int, steps: int, number: int) -> None:
    """Ways through the API along its links: what one answer names, the next request asks for."""
    machine = schema.as_state_machine()
    wanted = checks()

    class Walk(machine):  # type: ignore[misc, valid-type]
        def validate_response(self, response: Any, case: Any, **given: Any) -> None:
            case.validate_response(response, checks=wanted)

    seed(number)(Walk)
    Walk.run(
        settings=hypothesis_settings(
            max_examples=walks,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
    )
