"""Why `darkroom up` does not come up, or does not stay up.  Every text is made to be read by a person.

    UpError
    ├── Refused        what was asked for cannot be or must not be
    ├── NoAnswer       something named in the settings does not answer
    └── ChildFailed    a child died before it was ever ready, so starting it again would only hide why
"""


class UpError(Exception):
    """Root of this package's errors."""


class Refused(UpError):
    """What was asked for cannot be, or must not be."""


class NoAnswer(UpError):
    """Something named in the settings does not answer."""


class ChildFailed(UpError):
    """A child died before it was ever ready, so starting it again would only hide why."""
