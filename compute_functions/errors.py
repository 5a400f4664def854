"""The errors of the cluster's code, split by who can do something about them.

    SiteError
    ├── ConfigurationError    a file or setting of the operators is wrong
    │   └── FieldError            one field of a YAML file, with its place
    ├── AlreadyRunning        the instance's name is taken by a living launcher
    ├── EngineFailed          the engine did not start, or died
    ├── DriverFailed          the scheduler refused, hung, or said what is not understood
    │   └── SubmissionRefused     it said no to a job, so that none exists
    ├── LeaseLost             another agent holds the site's lease, or ours ran out
    ├── Outranked             jobs carry a higher fencing number than our lease
    ├── DiskFailed            the site's directory refused, or did not answer in time
    ├── BatchRefused          the site does not take a batch; it says why to the person
    │   └── AccessRefused         the person may not use a path, or nobody can as things are
    ├── BatchUnknown          there is no such batch here (any more)
    ├── NoRoom                the site has no room for the batch now
    │   └── FilesAway             the person's own files cannot be used now
    │       └── FilesTimedOut         they were waited for in vain
    ├── EndpointFailed        the Globus Compute endpoint did not do what it was told
    ├── LinkFailed            a relay's link to a hub was not opened, or it was cut
    │   ├── HubRefused            the hub answered the opening with another status than 101
    │   ├── HubHungUp             the hub ended the link with a word, and its streams with it
    │   └── ProtocolBroken        one side said what the protocol does not know
    ├── PushFailed            an answer was not pushed to a hub, or not to its end
    │   ├── HubUnreachable        the engine was not asked
    │   └── CallerLeft            the hub does not want the answer, or no more of it
    └── CallFailed            one HTTP call to an engine gave no answer
        ├── EngineUnreachable     nothing was sent to it
        ├── EngineBrokeOff        it was sent, or a part of it, and no whole answer came
        ├── EngineTimedOut
        └── AnswerTooLarge

None of them crosses Globus Compute: `run_request` turns them into the contract's values.
"""

from __future__ import annotations

from pathlib import Path


class SiteError(Exception):
    """Something at this site did not work."""


class ConfigurationError(SiteError):
    """A file or setting of the site's operators is wrong."""


class FieldError(ConfigurationError):
    """A field of an operators' YAML file is wrong."""

    def __init__(self, file: Path, line: int, field: str, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {field}: {problem}")
        self.file = file
        self.line = line
        self.field = field
        self.problem = problem


class AlreadyRunning(SiteError):
    """The instance's name is taken by a launcher that lives."""


class EngineFailed(SiteError):
    """The engine did not become ready, or stopped by itself."""


class DriverFailed(SiteError):
    """The scheduler refused, did not answer in time, or said what is not understood."""


class SubmissionRefused(DriverFailed):
    """The scheduler said no to a job, or was never asked for it: none exists."""


class LeaseLost(SiteError):
    """Another agent holds the site's lease, or ours was not renewed in time."""


class Outranked(SiteError):
    """Jobs of ours carry a higher fencing number than our lease: its files were lost."""

    def __init__(self, fence: int) -> None:
        super().__init__(f"jobs carry the fencing number {fence}")
        self.fence = fence


class DiskFailed(SiteError):
    """The site's directory refused, or did not answer in time."""


class BatchRefused(SiteError):
    """The site does not take a batch, or not this piece of it; the person reads the message."""


class AccessRefused(BatchRefused):
    """The person may not use a path, or nobody can as things are."""


class BatchUnknown(SiteError):
    """There is no such batch at this site, or no more."""


class NoRoom(SiteError):
    """The site has no room for the batch now; later it may have."""


class FilesAway(NoRoom):
    """The person's own files cannot be used now; later they may be."""


class FilesTimedOut(FilesAway):
    """The person's own files were waited for in vain."""


class EndpointFailed(SiteError):
    """The Globus Compute endpoint did not do what it was told."""


class LinkFailed(SiteError):
    """A relay's link to a hub was not opened, or it was cut."""


class HubRefused(LinkFailed):
    """The hub answered the opening of a link with another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the hub answers {status}")
        self.status = status


class HubHungUp(LinkFailed):
    """The hub ended the link with a word, and its streams with it."""


class ProtocolBroken(LinkFailed):
    """One side of a link said what the protocol does not know."""


class PushFailed(SiteError):
    """An answer was not pushed to a hub, or not to its end."""


class HubUnreachable(PushFailed):
    """The hub cannot be reached, so that the engine was not asked."""


class CallerLeft(PushFailed):
    """The hub does not want the answer, or no more of it."""


class CallFailed(SiteError):
    """One HTTP call to an engine gave no answer."""


class EngineUnreachable(CallFailed):
    """Nobody listens where the engine should be: nothing ran."""


class EngineBrokeOff(CallFailed):
    """The engine gave no whole answer to what it was sent: it may have run."""


class EngineTimedOut(CallFailed):
    """The engine did not answer in the time that the caller allowed."""


class AnswerTooLarge(CallFailed):
    """The engine's answer is larger than the caller allowed."""
