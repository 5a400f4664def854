# A cluster's login node in a box: the Globus Compute endpoint and the functions that it runs.
# For sites whose login nodes are containers, and for trying things out; engines are not in it.
#   docker build -f docker/site.Dockerfile -t hotnode-site .
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY requirements/cluster.txt requirements/build.txt requirements/
RUN python -m venv /opt/hotnode && \
    /opt/hotnode/bin/pip install --no-cache-dir --require-hashes -r requirements/cluster.txt
COPY pyproject.toml README.md LICENSE ./
COPY compute_functions compute_functions
COPY batch batch
COPY resource_server resource_server
COPY auth_helper auth_helper
COPY endpoint_configs/templates endpoint_configs/templates
COPY endpoint_configs/engines endpoint_configs/engines
RUN python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt && \
    /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . && \
    /opt/hotnode/bin/pip install --no-cache-dir --no-deps /wheel/*.whl

FROM python:3.12-slim-bookworm
RUN groupadd --gid 10001 hotnode && \
    useradd --uid 10001 --gid 10001 --create-home --home-dir /var/lib/hotnode hotnode
COPY --from=build /opt/hotnode /opt/hotnode
ENV PATH=/opt/hotnode/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/hotnode
ENTRYPOINT ["python", "-m", "compute_functions.endpoint"]
CMD ["--help"]
