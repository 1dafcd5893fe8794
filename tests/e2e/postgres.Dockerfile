# Stands for docker.io/library/postgres where no registry can be reached: the same settings, Debian's server.
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
COPY postgres.sh /postgres.sh
CMD ["sh", "/postgres.sh"]
