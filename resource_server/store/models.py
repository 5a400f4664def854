"""The tables. A row of the catalog says who wrote it, so that a reload touches only its own."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from typing_extensions import override


class Origin(models.TextChoices):
    """Who owns a row of the catalog."""

    YAML = "yaml", "the operators' YAML files"
    API = "api", "the API"
    CLI = "cli", "the command line"


class ClusterRow(models.Model):
    """One cluster; `spec` is a `SiteSpec` as JSON."""

    name = models.CharField(max_length=64, primary_key=True)
    origin = models.CharField(max_length=8, choices=Origin.choices)
    spec = models.JSONField()

    class Meta:
        """A row without an owner is impossible."""

        db_table = "catalog_cluster"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(origin__in=Origin.values), name="cluster_origin_known"
            )
        ]

    @override
    def __str__(self) -> str:
        """Return the cluster's name."""
        return self.name


class ModelRow(models.Model):
    """One model; `spec` is a `ModelSpec` as JSON."""

    model_id = models.CharField(max_length=255, primary_key=True)
    origin = models.CharField(max_length=8, choices=Origin.choices)
    spec = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """A row without an owner is impossible."""

        db_table = "catalog_model"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(origin__in=Origin.values), name="model_origin_known"
            )
        ]

    @override
    def __str__(self) -> str:
        """Return the model's id."""
        return self.model_id


class ProjectRow(models.Model):
    """One project; `spec` is a `ProjectSpec` as JSON."""

    name = models.CharField(max_length=64, primary_key=True)
    origin = models.CharField(max_length=8, choices=Origin.choices)
    spec = models.JSONField()

    class Meta:
        """A row without an owner is impossible."""

        db_table = "catalog_project"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(origin__in=Origin.values), name="project_origin_known"
            )
        ]

    @override
    def __str__(self) -> str:
        """Return the project's name."""
        return self.name


class CatalogVersion(models.Model):
    """One row: a number that grows with every change of the catalog."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.PositiveBigIntegerField(default=0)

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
