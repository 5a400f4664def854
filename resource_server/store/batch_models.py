"""The tables of files and batches. What no query looks into is kept as JSON text."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler
from typing_extensions import override

from resource_server.domain.batches import BatchStatus, Stage
from resource_server.domain.files import Purpose

#: As long as an id of ours, and of a person, may be.
ID_LENGTH = 64
OWNER_LENGTH = 255
FINAL = [status.value for status in BatchStatus if status.final]
#: What is left to do for a batch that is over.
AFTERWARDS = [Stage.FORGETTING.value, Stage.DONE.value]
#: When one that is over has ended.
ENDED_AT = Coalesce("completed_at", "failed_at", "expired_at", "cancelled_at")
_TO_DO = [stage.value for stage in Stage if stage is not Stage.DONE]


class Word(models.Value):
    """A word of our own that stands in a query itself, and not as a parameter.

    SQLite goes by an index of some rows only where the query says which in the same words.
    """

    @override
    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[str | int, ...]]:
        """Return the word in quotes."""
        if not self.value.isidentifier():
            raise ValueError("a word has letters alone")
        return f"'{self.value}'", ()


#: For queries, in the words of the indexes.
LEFT_TO_DO = models.Q(stage__in=[*map(Word, _TO_DO)])
NEEDS_INPUT = ~models.Q(stage__in=[*map(Word, AFTERWARDS)])
IS_DONE = models.Q(stage=Word(Stage.DONE.value))


class HolderRow(models.Model):
    """Somebody who has files or batches: a row to lock while what they may have is counted."""

    owner = models.CharField(max_length=OWNER_LENGTH, primary_key=True)

    class Meta:
        """Where the rows are."""

        db_table = "batch_holder"

    @override
    def __str__(self) -> str:
        """Return who it is."""
        return self.owner


class FileRow(models.Model):
    """One file (`domain.files.StoredFile`). The number tells the order in which they came.

    One that is `deleted` is gone for its owner, and its bytes may still be needed.
    """

    number = models.BigAutoField(primary_key=True)
    file_id = models.CharField(max_length=ID_LENGTH, unique=True)
    owner = models.CharField(max_length=OWNER_LENGTH)
    filename = models.CharField(max_length=255)
    purpose = models.CharField(max_length=16)
    bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    created_at = models.FloatField()
    expires_at = models.FloatField(null=True)
    deleted = models.BooleanField(default=False)

    class Meta:
        """Where the rows are, and what none of them is."""

        db_table = "stored_file"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(purpose__in=[purpose.value for purpose in Purpose]),
                name="file_purpose_known",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "number"], name="file_by_owner"),
            models.Index(fields=["expires_at"], name="file_by_end"),
            models.Index(
                fields=["number"], condition=models.Q(deleted=True), name="file_to_be_removed"
            ),
        ]

    @override
    def __str__(self) -> str:
        """Return its id."""
        return self.file_id


class BatchRow(models.Model):
    """One batch (`domain.batches.Batch`).

    `urgent` is one that its owner has made or cancelled since the controller last looked.
    `answered` repeats a number of `report`, which queries ask for.
    """

    number = models.BigAutoField(primary_key=True)
    batch_id = models.CharField(max_length=ID_LENGTH, unique=True)
    owner = models.CharField(max_length=OWNER_LENGTH)
    cluster = models.CharField(max_length=64, blank=True)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - none is not an empty one: of those there may be many
    request_digest = models.CharField(max_length=64)
    order = models.TextField()
    report = models.TextField(blank=True)
    completion_window = models.CharField(max_length=16)
    input_file_id = models.CharField(max_length=ID_LENGTH, blank=True)
    output_file_id = models.CharField(max_length=ID_LENGTH, blank=True)
    error_file_id = models.CharField(max_length=ID_LENGTH, blank=True)
    metadata = models.JSONField()
    fetches = models.BooleanField()
    keep_s = models.FloatField(null=True)
    status = models.CharField(max_length=16)
    stage = models.CharField(max_length=16)
    urgent = models.BooleanField()
    version = models.PositiveBigIntegerField(default=0)
    answered = models.PositiveBigIntegerField(default=0)
    waits = models.TextField(blank=True)
    created_at = models.FloatField()
    expires_at = models.FloatField()
    in_progress_at = models.FloatField(null=True)
    finalizing_at = models.FloatField(null=True)
    completed_at = models.FloatField(null=True)
    failed_at = models.FloatField(null=True)
    expired_at = models.FloatField(null=True)
    cancelling_at = models.FloatField(null=True)
    cancelled_at = models.FloatField(null=True)

    class Meta:
        """Where the rows are, and what none of them is."""

        db_table = "batch"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status__in=[status.value for status in BatchStatus]),
                name="batch_status_known",
            ),
            models.CheckConstraint(
                condition=models.Q(stage__in=[stage.value for stage in Stage]),
                name="batch_stage_known",
            ),
            # One that is over has a moment when it ended, and nothing left to do but to be
            # forgotten; one that is not over has neither.
            models.CheckConstraint(
                condition=models.Q(status__in=FINAL, stage__in=AFTERWARDS)
                | (~models.Q(status__in=FINAL) & ~models.Q(stage__in=AFTERWARDS)),
                name="batch_over_or_not",
            ),
            *(
                models.CheckConstraint(
                    condition=~models.Q(status=status)
                    | models.Q(**{f"{status}_at__isnull": False}),
                    name=f"batch_{status}_at_some_time",
                )
                for status in FINAL
            ),
            models.UniqueConstraint(
                fields=["owner", "idempotency_key"], name="one_batch_per_idempotency_key"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "number"], name="batch_by_owner"),
            models.Index(
                fields=["cluster", "number"],
                condition=models.Q(stage__in=_TO_DO),
                name="batch_to_do",
            ),
            models.Index(fields=["number"], condition=models.Q(urgent=True), name="batch_urgent"),
            models.Index(
                fields=["input_file_id"],
                condition=~models.Q(stage__in=AFTERWARDS),
                name="batch_by_needed_file",
            ),
            models.Index(ENDED_AT, condition=models.Q(stage=Stage.DONE.value), name="batch_by_end"),
        ]

    @override
    def __str__(self) -> str:
        """Return its id."""
        return self.batch_id
