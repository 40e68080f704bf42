"""A way to the package registries for whoever builds images in an engine whose network leads nowhere.

`python -m tests.compose.way_out proxy SOCKET` connects, from here, to where it is told; `... forward SOCKET` takes requests
to it at 127.0.0.1:PORT of the network that it is started in. Both use an address in the file system, which all networks see.
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import closing

PORT = 3128
_PIECE = 65_536


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    with closing(writer):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


async def _join(one: tuple[StreamReader, StreamWriter], other: tuple[StreamReader, StreamWriter]) -> None:
    """Until both have hung up. Who hangs up in the middle is noticed by whoever he talked to."""
    await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]), return_exceptions=True)


async def _proxy(reader: StreamReader, writer: StreamWriter) -> None:
    """HTTP's CONNECT, and nothing else."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, where, _ = head.split("\r\n")[0].split()
    if method != "CONNECT":
        writer.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
        writer.close()
        return
    host, _, port = where.rpartition(":")
    beyond = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await _join((reader, writer), beyond)


async def main(role: str, address: str) -> None:
    """Serves until it is ended."""

    async def forward(reader: StreamReader, writer: StreamWriter) -> None:
        await _join((reader, writer), await asyncio.open_unix_connection(address))

    if role == "proxy":
        server = await asyncio.start_unix_server(_proxy, address)
    else:
        server = await asyncio.start_server(forward, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
