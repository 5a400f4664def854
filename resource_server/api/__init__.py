"""HTTP only: routes, dialects of errors, and headers. Every route calls one service."""
