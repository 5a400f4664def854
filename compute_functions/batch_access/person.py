"""For whom rights are evaluated: a local user with groups, or somebody who is none."""

from __future__ import annotations

import pwd
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A local user; with `uid` None somebody unknown, who has the rights of all others.

    `account` is the user's name, if it has one here, and `gid` its first group, if that is known.
    """

    uid: int | None
    gids: frozenset[int] = field(default_factory=frozenset)
    account: str = field(default="", compare=False)
    gid: int | None = field(default=None, compare=False)

    @classmethod
    def of(cls, account: pwd.struct_passwd, groups: list[int]) -> Self:
        """Return the user of an account."""
        return cls(
            uid=account.pw_uid,
            gids=frozenset(groups),
            account=account.pw_name,
            gid=account.pw_gid,
        )


#: Whom the cluster does not know.
ANYBODY = Person(uid=None)
