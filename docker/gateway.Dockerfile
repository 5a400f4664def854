# The gateway: one image for its roles web, hub and controller.
#   docker build -f docker/gateway.Dockerfile -t hotnode-gateway .
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements/gateway.txt requirements/build.txt requirements/
# What the locks name, byte for byte. Pin the base image by its digest in your own registry.
RUN python -m venv /opt/hotnode && \
    /opt/hotnode/bin/pip install --no-cache-dir --require-hashes -r requirements/gateway.txt
COPY pyproject.toml README.md LICENSE ./
COPY resource_server resource_server
COPY compute_functions compute_functions
COPY batch batch
COPY auth_helper auth_helper
COPY endpoint_configs/templates endpoint_configs/templates
COPY endpoint_configs/engines endpoint_configs/engines
RUN python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt && \
    /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . && \
    /opt/hotnode/bin/pip install --no-cache-dir --no-deps /wheel/*.whl

FROM python:3.13-slim-bookworm
# Fixed, so that volumes shared by the roles have one owner.
RUN groupadd --gid 10001 hotnode && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/hotnode hotnode && \
    install --directory --mode 0700 --owner 10001 --group 10001 /var/lib/hotnode /run/hotnode
COPY --from=build /opt/hotnode /opt/hotnode
ENV PATH=/opt/hotnode/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOTNODE_HOST=0.0.0.0 \
    HOTNODE_STATE_DIR=/var/lib/hotnode \
    HOTNODE_CATALOG_DIR=/etc/hotnode/catalog
USER 10001:10001
WORKDIR /var/lib/hotnode
EXPOSE 8000
# The grace period of `serve` is 30 seconds; give the container more.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "resource_server"]
CMD ["serve"]
