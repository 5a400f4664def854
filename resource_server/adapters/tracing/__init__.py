"""Traces of requests for an OpenTelemetry collector; imported only where one is set."""
