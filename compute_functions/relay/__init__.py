"""The relay: it runs beside one engine, keeps a link to each hub and carries requests over it.

What it says to hubs stands in docs/developers/relay-protocol.md.
"""
