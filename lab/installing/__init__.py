"""What the installers of all engines for machines without a GPU share."""
