"""The Django app: tables, migrations and the repositories that read and write them."""
