"""The shop's side: takes webhooks and shows them, and books parcels.

Runs in a pod, with the standard library only.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

received: list[dict[str, object]] = []


class Shop(BaseHTTPRequestHandler):
    """POST /webhooks is kept, GET /received gives what was; every other POST is a command."""

    def do_POST(self) -> None:
        """Take a webhook, or do a command with no result."""
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/webhooks":
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.append({"headers": headers, "body": body})
            self._answer(204, b"")
        else:
            self._answer(200, b'{"variables": {}}')

    def do_GET(self) -> None:
        """Show all webhooks that came."""
        self._answer(200, json.dumps(received).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Shop).serve_forever()
