"""`python -m tests.scripts.relay.tls_front ADDRESS PORT BEHIND-HOST BEHIND-PORT FOLDER`: the storage under another address.

FOLDER contains the certificate of that address. It ends the TLS connection and opens another one to the server behind; it changes
no data. It prints a line when it listens, and ends when stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()


async def _serve(address: str, port: int, behind: tuple[str, int], certs: Path) -> None:
    inner = ssl.create_default_context()
    inner.check_hostname, inner.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # a test's own server, in a separate network

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*behind, ssl=inner)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.load_cert_chain(certs / "public.crt", certs / "private.key")
    async with await asyncio.start_server(passed_on, address, port, ssl=outer):
        print("listens", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    where, at, host, number, folder = sys.argv[1:]
    asyncio.run(_serve(where, int(at), (host, int(number)), Path(folder)))
