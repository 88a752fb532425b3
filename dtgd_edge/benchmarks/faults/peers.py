"""Peers of a line, each a process of its own that can be killed: `python peers.py KIND PORT FILE`.

webhook writes every body that it is posted to FILE, a line each; mqtt is a broker and modbus a controller
with 300 registers, both by libraries of other people. "listens" on standard output says that it does.
"""

import asyncio
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Posted(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    file = Path()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.file.open("ab") as file:
            file.write(body.replace(b"\n", b" ") + b"\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def webhook(port: int, file: Path) -> None:
    """Serve until killed."""
    Posted.file = file
    with ThreadingHTTPServer(("127.0.0.1", port), Posted) as server:
        print("listens", flush=True)
        server.serve_forever()


async def mqtt(port: int) -> None:
    """Serve until killed."""
    from amqtt.broker import Broker

    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    await Broker(config).start()
    print("listens", flush=True)
    await asyncio.Event().wait()


async def modbus(port: int) -> None:
    """Serve until killed."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    registers = [SimData(0, values=[0] * 300, datatype=DataType.REGISTERS)]
    server: Any = ModbusTcpServer(SimDevice(1, simdata=registers), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print("listens", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    kind, number, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "webhook":
        webhook(number, path)
    else:
        asyncio.run(mqtt(number) if kind == "mqtt" else modbus(number))
