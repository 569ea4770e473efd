"""Everything that can go wrong has a sentence."""

import inspect

from app.jobs import failures
from app.jobs.failures import ErrorCode, JobsError, Reason


def test_every_error_code_has_a_sentence() -> None:
    for code in ErrorCode:
        assert code.message[0].isupper()
        assert code.message.endswith(".")


def test_every_reason_to_give_back_leads_to_a_code() -> None:
    assert {reason: reason.error_code for reason in Reason} == {
        Reason.SHUTDOWN: ErrorCode.INFRASTRUCTURE,
        Reason.DISK_FULL: ErrorCode.INFRASTRUCTURE,
        Reason.STORAGE: ErrorCode.INFRASTRUCTURE,
        Reason.OUT_OF_MEMORY: ErrorCode.OUT_OF_MEMORY,
    }


def test_every_error_has_one_root_and_stands_in_the_tree_at_the_top() -> None:
    errors = [thing for _, thing in inspect.getmembers(failures, inspect.isclass) if issubclass(thing, Exception)]
    tree = str(failures.__doc__).split()

    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, JobsError)
        assert error.__name__ in tree
