"""Which limits bind a person: what operators set for all, for groups, for models, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeAlias, TypeVar

from resource_server.domain.identity import Person
from resource_server.domain.limits import NO_SIZES, BodySizes, Limit, Measure, Scope

#: What "no limit" is in a rule; None leaves the matter to the next rule.
UNLIMITED = 0
#: So many people's limits are remembered, with each of their keys and models (a few MB).
MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAllowance:
    """What one person may ask of one model."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one person may ask for; `models` says more of some models, by id."""

    requests_per_minute: int | None = None
    requests_per_minute_per_key: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_minute_per_model: int | None = None
    concurrent_requests: int | None = None
    batch_requests_per_minute: int | None = None
    max_body_bytes: int | None = None
    max_upload_bytes: int | None = None
    models: Mapping[str, ModelAllowance] = field(default_factory=dict)


_RuleT = TypeVar("_RuleT", Allowance, ModelAllowance)
#: Rules of the same rank stand together; an earlier rank counts before a later one.
_Ranks: TypeAlias = Iterable[tuple[_RuleT, ...]]
#: By what the rules for two people may differ: whose rules count, and which groups'.
_Whose: TypeAlias = tuple[tuple[str, ...], frozenset[str]]
#: Whose limits they are, with which key, by which rules, and for which model.
_Case: TypeAlias = tuple[str, str, _Whose, str | None]
_OF_ALL: tuple[tuple[Measure, Callable[[Allowance], int | None]], ...] = (
    (Measure.REQUESTS, attrgetter("requests_per_minute")),
    (Measure.TOKENS, attrgetter("tokens_per_minute")),
    (Measure.CONCURRENT, attrgetter("concurrent_requests")),
)
_OF_A_KEY: Callable[[Allowance], int | None] = attrgetter("requests_per_minute_per_key")
_TOKENS_OF_ANY_MODEL: Callable[[Allowance], int | None] = attrgetter("tokens_per_minute_per_model")
_ABOUT_BATCHES: Callable[[Allowance], int | None] = attrgetter("batch_requests_per_minute")
_BODY: Callable[[Allowance], int | None] = attrgetter("max_body_bytes")
_UPLOAD: Callable[[Allowance], int | None] = attrgetter("max_upload_bytes")
_OF_A_MODEL: tuple[tuple[Measure, Callable[[ModelAllowance], int | None]], ...] = (
    (Measure.REQUESTS, attrgetter("requests_per_minute")),
    (Measure.TOKENS, attrgetter("tokens_per_minute")),
    (Measure.CONCURRENT, attrgetter("concurrent_requests")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amount:
    """How much of something whoever the same rules bind may ask for."""

    measure: Measure
    scope: Scope
    amount: int

    def limit(self, person: Person, model: str | None) -> Limit:
        subject = ""
        if self.scope is Scope.KEY:
            subject = person.credential
        elif self.scope is Scope.MODEL:
            subject = model or ""
        return Limit(
            measure=self.measure,
            amount=self.amount,
            # An account has its limits once, and not once for each identity linked to it.
            owner=person.account_id,
            scope=self.scope,
            subject=subject,
        )


class LimitRules:
    """Every rule about limits. It never changes; a reload makes a new one.

    A rule for the person counts before those for the person's groups, and these before the
    defaults. Of several groups the most generous counts, for each limit by itself. What a rule
    says of one model counts before what any says of models in general.
    """

    def __init__(
        self,
        *,
        defaults: tuple[Allowance, ...] = (),
        groups: Mapping[str, Allowance] | None = None,
        people: Mapping[str, Allowance] | None = None,
        most_remembered: int = MOST_REMEMBERED,
    ) -> None:
        self._defaults = tuple((rule,) for rule in defaults)
        self._groups = dict(groups or {})
        self._group_ids = frozenset(self._groups)
        self._people = {username.lower(): rule for username, rule in (people or {}).items()}
        rules = (*defaults, *self._groups.values(), *self._people.values())
        self._none = not any(_limits_something(rule) for rule in rules)
        self._sizes_are_said = any(_BODY(rule) or _UPLOAD(rule) for rule in rules)
        # Few people have rules of their own, so few combinations ever come up.
        self._known: dict[tuple[_Whose, str | None], tuple[_Amount, ...]] = {}
        self._known_sizes: dict[_Whose, BodySizes] = {}
        self._most_remembered = most_remembered
        self._bound: dict[_Case, tuple[Limit, ...]] = {}

    def limits_of(self, person: Person, model: str | None = None) -> tuple[Limit, ...]:
        """Return the limits that a person's request to a model must keep to.

        Without a model, those that bind the person whatever the model.
        """
        if self._none:
            return ()
        whose = self._whose(person)
        case = (person.account_id, person.credential, whose, model)
        limits = self._bound.get(case)
        if limits is None:
            if len(self._bound) >= self._most_remembered:
                self._bound.clear()
            limits = self._bound[case] = self._limits(person, whose, model)
        return limits

    def _limits(self, person: Person, whose: _Whose, model: str | None) -> tuple[Limit, ...]:
        amounts = self._known.get((whose, model))
        if amounts is None:
            amounts = self._known[whose, model] = self._amounts(whose, model)
        return tuple(
            amount.limit(person, model)
            for amount in amounts
            if amount.scope is not Scope.KEY or person.credential
        )

    def batch_limits_of(self, person: Person) -> tuple[Limit, ...]:
        """Return the limits that a person's requests about files and batches must keep to.

        They are none of those on requests to models: who waits for a batch asks again and again.
        """
        amount = _amount(self._ranks(self._whose(person)), _ABOUT_BATCHES)
        if not amount:
            return ()
        measured = _Amount(measure=Measure.REQUESTS, scope=Scope.BATCHES, amount=amount)
        return (measured.limit(person, None),)

    def body_sizes_of(self, person: Person) -> BodySizes:
        """Return how large a person's requests may be."""
        if not self._sizes_are_said:
            return NO_SIZES
        whose = self._whose(person)
        sizes = self._known_sizes.get(whose)
        if sizes is None:
            ranks = self._ranks(whose)
            sizes = BodySizes(body=_amount(ranks, _BODY), upload=_amount(ranks, _UPLOAD))
            self._known_sizes[whose] = sizes
        return sizes

    def _whose(self, person: Person) -> _Whose:
        names: tuple[str, ...] = ()
        if self._people:
            every = (identity.username.lower() for identity in person.identities)
            names = tuple(name for name in every if name in self._people)
        return names, person.groups & self._group_ids

    def _ranks(self, whose: _Whose) -> list[tuple[Allowance, ...]]:
        names, groups = whose
        return [
            *((self._people[name],) for name in names),
            tuple(self._groups[group] for group in groups),
            *self._defaults,
        ]

    def _amounts(self, whose: _Whose, model: str | None) -> tuple[_Amount, ...]:
        ranks = self._ranks(whose)
        of_model = () if model is None else _of_model(ranks, model)
        return (*_personal(ranks), *of_model)


def _limits_something(rule: Allowance) -> bool:
    return (
        any(read(rule) for _, read in _OF_ALL)
        or bool(_OF_A_KEY(rule) or _TOKENS_OF_ANY_MODEL(rule))
        or any(read(model) for model in rule.models.values() for _, read in _OF_A_MODEL)
    )


def _personal(ranks: list[tuple[Allowance, ...]]) -> Iterator[_Amount]:
    for measure, read in _OF_ALL:
        if amount := _amount(ranks, read):
            yield _Amount(measure=measure, scope=Scope.PERSON, amount=amount)
    if amount := _amount(ranks, _OF_A_KEY):
        yield _Amount(measure=Measure.REQUESTS, scope=Scope.KEY, amount=amount)


def _of_model(ranks: list[tuple[Allowance, ...]], model: str) -> Iterator[_Amount]:
    named = [tuple(r.models[model] for r in rank if model in r.models) for rank in ranks]
    for measure, read in _OF_A_MODEL:
        amount = _amount(named, read)
        if amount is None and measure is Measure.TOKENS:
            amount = _amount(ranks, _TOKENS_OF_ANY_MODEL)
        if amount:
            yield _Amount(measure=measure, scope=Scope.MODEL, amount=amount)


def _amount(ranks: _Ranks[_RuleT], read: Callable[[_RuleT], int | None]) -> int | None:
    """Return what the first rank that says something says, at its most generous."""
    for rank in ranks:
        amounts = [amount for rule in rank if (amount := read(rule)) is not None]
        if amounts:
            return UNLIMITED if UNLIMITED in amounts else max(amounts)
    return None
