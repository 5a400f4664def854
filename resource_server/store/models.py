"""The tables. A row of the catalog says who wrote it, so that a reload touches only its own."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from typing_extensions import override

from resource_server.store.batch_models import BatchRow, FileRow, HolderRow

__all__ = [
    "BatchRow",
    "CatalogRow",
    "CatalogVersion",
    "ClusterRow",
    "ControllerLease",
    "FileRow",
    "HolderRow",
    "ModelRow",
    "Origin",
    "OverrideRow",
    "ProjectRow",
]


class Origin(models.TextChoices):
    """Who owns a row of the catalog."""

    YAML = "yaml", "the operators' YAML files"
    API = "api", "the API"
    CLI = "cli", "the command line"


class CatalogRow(models.Model):
    """One document of the catalog, as JSON, and who owns it."""

    origin = models.CharField(max_length=8, choices=Origin.choices)
    spec = models.JSONField()

    class Meta:
        """What has a table of its own are the kinds of documents."""

        abstract = True

    @override
    def __str__(self) -> str:
        """Return the name of what is described."""
        return str(self.pk)


def _owned(kind: str) -> models.CheckConstraint:
    """Make a row without an owner impossible."""
    return models.CheckConstraint(
        condition=models.Q(origin__in=Origin.values), name=f"{kind}_origin_known"
    )


class ClusterRow(CatalogRow):
    """One cluster; `spec` is a `SiteSpec`."""

    name = models.CharField(max_length=64, primary_key=True)

    class Meta:
        """Where the rows are."""

        db_table = "catalog_cluster"
        constraints: ClassVar = [_owned("cluster")]


class ModelRow(CatalogRow):
    """One model; `spec` is a `ModelSpec`."""

    model_id = models.CharField(max_length=255, primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Where the rows are."""

        db_table = "catalog_model"
        constraints: ClassVar = [_owned("model")]


class ProjectRow(CatalogRow):
    """One project; `spec` is a `ProjectSpec`."""

    name = models.CharField(max_length=64, primary_key=True)

    class Meta:
        """Where the rows are."""

        db_table = "catalog_project"
        constraints: ClassVar = [_owned("project")]


class OverrideRow(models.Model):
    """What operators have said of one model at one cluster, beside the files (`Override`).

    It outlives the files' mention of the model: who takes it up again finds it as it was.
    """

    model_id = models.CharField(max_length=255)
    cluster = models.CharField(max_length=64)
    origin = models.CharField(max_length=8, choices=Origin.choices)
    pinned = models.PositiveIntegerField(default=0)
    disabled = models.BooleanField(default=False)
    unloaded = models.BooleanField(default=False)
    loaded_at = models.FloatField(default=0.0)
    unloaded_at = models.FloatField(default=0.0)

    class Meta:
        """Where the rows are, and that files have none of them."""

        db_table = "model_override"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model_id", "cluster"], name="one_override_per_place"),
            models.CheckConstraint(
                condition=models.Q(origin__in=[Origin.API, Origin.CLI]), name="override_by_people"
            ),
            models.CheckConstraint(
                condition=models.Q(pinned=0) | models.Q(disabled=False), name="pinned_or_disabled"
            ),
            models.CheckConstraint(
                condition=models.Q(pinned=0) | models.Q(unloaded=False), name="pinned_or_unloaded"
            ),
        ]

    @override
    def __str__(self) -> str:
        """Return whom it is about."""
        return f"{self.model_id} at {self.cluster}"


class CatalogVersion(models.Model):
    """One row: a number that grows with every change of the catalog, and its generation."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.PositiveBigIntegerField(default=0)
    generation = models.PositiveBigIntegerField(default=1)

    class Meta:
        """There is exactly one version."""

        db_table = "catalog_version"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_catalog_version")
        ]

    @override
    def __str__(self) -> str:
        """Return the number."""
        return str(self.version)


class ControllerLease(models.Model):
    """One row: who is the active controller, under which number, and until when.

    The number grows with each holder. Every write of a controller states it, so that one who was
    given up for dead writes nothing more.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    holder = models.CharField(max_length=128, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField()

    class Meta:
        """There is exactly one lease."""

        db_table = "controller_lease"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_controller_lease")
        ]

    @override
    def __str__(self) -> str:
        """Return the holder and its number."""
        return f"{self.holder} ({self.fence})"
