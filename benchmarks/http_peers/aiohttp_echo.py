"""A bare aiohttp server that parses the JSON of a request and sends it back; usage: aiohttp_echo.py PATH PORT."""

import sys

from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    """Answer with what came."""
    return web.json_response(await request.json())


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post(sys.argv[1], echo)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
