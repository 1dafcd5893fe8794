"""A worker in a process of its own, to be killed: `python -m tests.controllers.migration.lone_worker <database URL>`."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta


async def work(url: str) -> None:
    from app.controllers.migration.supervise import Tenure
    from app.controllers.workers import WorkerConfig, Workers
    from app.hypervisor.libvirt_driver.driver import connect_factory
    from app.store.postgres import PostgresStore

    store = PostgresStore(url)
    await store.open()
    tenure = Tenure(lease=timedelta(seconds=6), settle_s=0.5)
    await Workers(store, connect_factory, f"lone-{os.getpid()}", WorkerConfig(tenure=tenure)).run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
