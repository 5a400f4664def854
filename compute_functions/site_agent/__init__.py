"""The site's agent: one process per site that makes the gateway's desired state so."""
