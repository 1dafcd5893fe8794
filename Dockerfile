# Two images: `drover` (the API and the workers) and `host` (a libvirt host to try it on).
# A build reaches Debian's archive and the Python package index, and nothing else.
FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      ca-certificates gcc libc6-dev libvirt-dev pkg-config python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/drover
COPY requirements.lock pyproject.toml README.md ./
COPY tools/runtime_lock.py tools/
RUN python3 -m venv .venv && python3 tools/runtime_lock.py < requirements.lock > runtime.lock \
    && .venv/bin/pip install --no-cache-dir --require-hashes -r runtime.lock && .venv/bin/pip install --no-cache-dir "setuptools>=75"
COPY app app
COPY migrations_db migrations_db
# Compiled here, once: nobody may write there later, and each process that starts, each migration's too, would compile it anew.
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation -e . && .venv/bin/python -m compileall -q app migrations_db

FROM docker.io/library/debian:bookworm-slim AS drover
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libvirt0 openssh-client python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 990 drover && useradd --system --uid 990 --gid 990 --create-home --home-dir /var/lib/drover drover \
    && install -d -o drover -g drover /pki /pki/api /pki/drover /pki/host0 /pki/host1
COPY --from=build /opt/drover /opt/drover
COPY deploy /opt/drover/deploy
WORKDIR /opt/drover
ENV PATH=/opt/drover/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DROVER_DATA_DIR=/var/lib/drover
# Its number, so that Kubernetes' runAsNonRoot can see that it is not root. It writes to DROVER_DATA_DIR and /tmp alone.
USER 990:990
EXPOSE 8443
CMD ["drover", "serve", "--bind", "0.0.0.0"]

FROM docker.io/library/debian:bookworm-slim AS host
RUN apt-get update && apt-get install -y --no-install-recommends \
      binutils iproute2 libvirt-clients libvirt-daemon-driver-qemu libvirt-daemon-system qemu-system-x86 \
      qemu-utils tini \
    && rm -rf /var/lib/apt/lists/*
COPY app/lab/boot_sector.s /usr/share/testvm.s
RUN cd /usr/share && as --32 --defsym PAGES=20 --defsym FIRST=0x200000 --defsym END=0x2200000 -o testvm.o testvm.s \
    && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o testvm.img testvm.o && truncate -s 1M testvm.img && rm testvm.o
COPY deploy/compose/host.sh /host.sh
EXPOSE 16514
# Every QEMU becomes a child of process 1. libvirtd there would not reap it, and wait 40 s for each that has ended.
ENTRYPOINT ["tini", "--"]
CMD ["sh", "/host.sh"]
