#!/bin/sh
# What the official image does on its first start: a cluster with that user and database, reachable with the password.
set -eu
install -d -o postgres -g postgres -m 0700 "$PGDATA"
install -d -o postgres -g postgres /run/postgresql
cd /
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" >/run/postgresql/password
  chown postgres /run/postgresql/password
  setpriv --reuid=postgres --regid=postgres --clear-groups initdb -U "$POSTGRES_USER" --auth=scram-sha-256 \
    --pwfile=/run/postgresql/password -D "$PGDATA"
  rm /run/postgresql/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "create database \"$POSTGRES_DB\";" | setpriv --reuid=postgres --regid=postgres --clear-groups \
    postgres --single -D "$PGDATA" postgres
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -D "$PGDATA" -c listen_addresses='*'
