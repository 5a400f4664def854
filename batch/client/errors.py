"""What can go wrong between a person's machine and a gateway, split by what to do about it.

ClientError
├── WrongSetting          something on the command line or in the environment: correct it
├── NotLoggedIn           there is no token, or the gateway takes it no more: log in
├── Refused               the gateway says no, and why; asking again does not help
├── NoAnswer              there was none, or only "not now": ask again. Nobody sees it but who waits
├── Unreachable           there was none for as long as somebody wanted to wait
├── Mistaken              the input file has mistakes; nothing was sent
├── NothingLeft           there is nothing to do
└── NotAsTold             what came is not what the gateway says it is
"""

from __future__ import annotations

from batch.validation import Validated


class ClientError(Exception):
    """Something about a batch at a gateway did not work."""


class WrongSetting(ClientError):
    """Something on the command line or in the environment is missing or wrong."""


class NotLoggedIn(ClientError):
    """There is no token, or the gateway does not take it."""


class Refused(ClientError):
    """The gateway says no: `status` is HTTP's, `code` and `param` are OpenAI's."""

    def __init__(self, message: str, *, status: int, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


class NoAnswer(ClientError):
    """There was no answer, or one that says to ask again, after `after_s` if it says when."""

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Unreachable(ClientError):
    """The gateway gave no answer for as long as somebody wanted to wait."""


class Mistaken(ClientError):
    """The input file has mistakes, which `found` lists."""

    def __init__(self, name: str, found: Validated) -> None:
        super().__init__(f"{name} has mistakes, and was not sent")
        self.name = name
        self.found = found


class NothingLeft(ClientError):
    """There is nothing to do."""


class NotAsTold(ClientError):
    """What came is not what the gateway says it is."""
