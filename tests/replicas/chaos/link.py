"""The way from one replica to Redis: python3 link.py PORT, a program of its
own, so that nothing else keeps it waiting. Prints the port that it listens on;
each line of its standard input says how it is from then on:

    open
    cut     connections are closed, new ones too
    hold    nothing goes either way; all of it arrives late
    deaf    requests arrive, answers are thrown away
    slow    50 ms each way for each 16 KB
"""
import asyncio
import sys

CHUNK, SLOW = 16384, 0.05


class Link:
    def __init__(self, port):
        self.port = port
        self.state = "open"
        self.moves = asyncio.Event()
        self.moves.set()
        self.writers = set()

    def become(self, state):
        self.state = state
        if state == "hold":
            self.moves.clear()
        else:
            self.moves.set()
        if state == "cut":
            for writer in self.writers:
                writer.transport.abort()

    async def pump(self, reader, writer, answers):
        try:
            while data := await reader.read(CHUNK):
                await self.moves.wait()
                if self.state == "slow":
                    await asyncio.sleep(SLOW)
                if answers and self.state == "deaf":
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        other = None
        try:
            if self.state == "cut":
                raise OSError
            far, other = await asyncio.open_connection("127.0.0.1", self.port)
            self.writers.add(other)
            await asyncio.gather(self.pump(reader, other, False),
                                 self.pump(far, writer, True))
        except OSError:
            pass
        for one in filter(None, (writer, other)):
            one.transport.abort()
            self.writers.discard(one)


async def main(port):
    link = Link(port)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        link.become(line.decode().strip())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
