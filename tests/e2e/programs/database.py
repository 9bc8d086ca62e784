"""A PostgreSQL for the cluster: the one that the image brings, opened to other pods."""

import asyncio
from pathlib import Path

from taskloom.store.embedded_postgres import EmbeddedPostgres

_FOLDER = Path("/var/lib/taskloom")


async def main() -> None:
    """Run until the pod ends."""
    server = EmbeddedPostgres(_FOLDER, {"listen_addresses": "*"})
    await server.start()
    await server.stop()
    with (_FOLDER / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all trust\n")
    await server.start()
    await server.keep_running()


if __name__ == "__main__":
    asyncio.run(main())
