# Two images: `drover` (the API and the workers) and `host` (a libvirt host to try it on).
FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      ca-certificates gcc libvirt-dev pkg-config python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/drover
COPY requirements.lock pyproject.toml README.md ./
RUN python3 -m venv .venv && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY app app
COPY migrations_db migrations_db
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation -e .

FROM docker.io/library/debian:bookworm-slim AS drover
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libvirt0 python3 \
    && rm -rf /var/lib/apt/lists/* && useradd --system --create-home --home-dir /var/lib/drover drover
COPY --from=build /opt/drover /opt/drover
COPY deploy /opt/drover/deploy
WORKDIR /opt/drover
ENV PATH=/opt/drover/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER drover
EXPOSE 8080
CMD ["drover", "serve", "--bind", "0.0.0.0"]

FROM docker.io/library/debian:bookworm-slim AS host
RUN apt-get update && apt-get install -y --no-install-recommends \
      binutils iproute2 libvirt-clients libvirt-daemon-driver-qemu libvirt-daemon-system qemu-system-x86 qemu-utils \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/compose/host.sh /host.sh
EXPOSE 16509
CMD ["sh", "/host.sh"]
