"""The gateway: it checks who asks, speaks the OpenAI API, and carries each request to a cluster."""
