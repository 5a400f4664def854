"""PostgreSQL, Redis and RabbitMQ of their own for tests, run from Debian's packages."""
