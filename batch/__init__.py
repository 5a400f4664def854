"""Batches: a file of requests, one a line, and one record for every line.

Nothing here knows a gateway or a site.
"""
