"""Runs the topic `check-stock` for Taskloom: python service.py [PORT]."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STOCK = {"desk": ("A3", 10), "chair": ("B1", 0)}


class CheckStock(BaseHTTPRequestHandler):
    """Answers POST {topic, taskId, instanceId, businessKey, retries, variables}."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """200 {variables} completes the task, 409 {bpmnError} takes the model's error path."""
        task = json.loads(self.rfile.read(int(self.headers["content-length"])))
        shelf, left = STOCK.get(task["variables"]["item"], ("", 0))
        if task["variables"]["quantity"] <= left:
            self.answer(200, {"variables": {"shelf": shelf}})
        else:
            self.answer(409, {"bpmnError": {"code": "SOLD_OUT", "message": f"{left} left"}})

    def answer(self, status: int, value: object) -> None:
        """Send JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8091
    ThreadingHTTPServer(("127.0.0.1", port), CheckStock).serve_forever()
