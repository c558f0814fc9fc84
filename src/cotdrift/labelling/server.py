"""The labelling page, served on this machine only, under an address that nobody can guess.

Whatever a model wrote reaches the page as JSON and is shown as text; the page may load nothing from anywhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from secrets import token_urlsafe
from threading import Thread
from typing import TypeVar

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from cotdrift.errors import CotdriftError, InputError
from cotdrift.labelling.sitting import Given, Now, Sitting, Skipped
from cotdrift.loopback import HOST, loopback

HOSTS = (HOST, "localhost")
"""The names this machine calls itself; a page elsewhere that points its own name here is turned away."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE = {
    "": ("cotdrift.labelling", "page.html", "text/html"),
    "page.js": ("cotdrift.labelling", "page.js", "text/javascript"),
    "page.css": ("cotdrift.labelling", "page.css", "text/css"),
    "style.css": ("cotdrift.page", "style.css", "text/css"),
}
"""Path → the file that is there; the looks are the report's."""

Body = TypeVar("Body", bound=Struct)


class Served(Struct, frozen=True):
    """A page that is being served."""

    address: str
    """With the token: whoever has it may label."""
    thread: Thread

    def wait(self) -> None:
        """Come back when the server has ended."""
        while self.thread.is_alive():
            self.thread.join(0.2)  # without an end, Ctrl-C goes unheard where the system hands it to the server's thread


def application(sitting: Sitting, token: str) -> Starlette:
    """The page and what it asks for, all of it under the token."""

    def file(package: str, name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
        content = (files(package) / name).read_bytes()

        async def give(asked: Request) -> Response:
            return Response(content, headers=HEADERS, media_type=kind)

        return give

    def answered(work: Callable[[bytes], object]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(asked: Request) -> Response:
            if asked.method == "POST" and asked.headers.get("content-type") != "application/json":
                return _json({"fault": "Only JSON is taken here."}, 415)  # what another page's form cannot send
            try:
                return _json(work(await asked.body()))
            except CotdriftError as fault:
                return _json({"fault": str(fault)}, 400)

        return answer

    asked: dict[str, Callable[[bytes], object]] = {
        "question": lambda body: sitting.question,
        "now": lambda body: sitting.now(),
    }
    told: dict[str, Callable[[bytes], Now]] = {
        "label": lambda body: sitting.label(_read(body, Given)),
        "skip": lambda body: sitting.skip(_read(body, Skipped)),
        "undo": lambda body: sitting.undo(),
    }
    routes = [
        *(Route(f"/{path}", file(*place)) for path, place in PAGE.items()),
        *(Route(f"/{path}", answered(work)) for path, work in asked.items()),
        *(Route(f"/{path}", answered(work), methods=["POST"]) for path, work in told.items()),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)],
    )


@contextlib.contextmanager
def serving(sitting: Sitting, *, port: int = 0) -> Iterator[Served]:
    """The page in a thread, for as long as the block runs; port 0 takes a free one."""
    token = token_urlsafe(24)
    with loopback(application(sitting, token), name="labelling page", port=port) as (address, thread):
        yield Served(f"{address}/{token}/", thread)


def _read(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise InputError(f"This cannot be kept as it is: {fault}. Load the page anew.") from None


def _json(told: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(told), status, headers=HEADERS, media_type="application/json")
