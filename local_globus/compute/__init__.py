"""The Globus Compute web service: endpoints, functions, tasks, and the queues between them."""
