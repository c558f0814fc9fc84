"""A web application served on this machine only, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import uvicorn

from cotdrift.errors import InputError

HOST = "127.0.0.1"


@contextlib.contextmanager
def loopback(application: Any, *, name: str, port: int = 0) -> Iterator[tuple[str, Thread]]:
    """The address of an ASGI application and the thread that serves it, for as long as the block runs; port 0 takes a free one."""
    try:
        bound = socket.create_server((HOST, port))
    except OSError as fault:
        raise InputError(f"--port {port}: {fault.strerror}. Leave --port out to take a free one.") from None
    with bound:
        config = uvicorn.Config(application, log_level="warning", access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [bound]}, name=name, daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://{HOST}:{bound.getsockname()[1]}", thread
        finally:
            server.should_exit = True
            thread.join()
