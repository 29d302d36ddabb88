"""An automation: hears of customers whose orders changed, finds out their segment, and tells that.

It stands for a workflow of n8n, or of any tool that takes and sends HTTP: everything that it needs is in Python's own library.
"""

import base64
import hmac
import json
import time
import urllib.request
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # what follows whsec_
OLDEST_S = 300
seen: set[str] = set()  # a real one keeps them


def is_genuine(headers: Message, body: bytes) -> bool:
    """Whether the message comes from who knows the secret, and lately."""
    number, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    signature = "v1," + base64.b64encode(hmac.digest(SECRET, f"{number}.{stamp}.".encode() + body, "sha256")).decode()
    known = any(hmac.compare_digest(signature, given) for given in headers["webhook-signature"].split(" "))
    return known and abs(time.time() - int(stamp)) <= OLDEST_S


def tell(number: str, segment: str) -> None:
    """Push what was found out: the message is the record."""
    body = json.dumps({"number": number, "segment": segment}).encode()
    headers = {"X-Token": "another-example", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8472/hooks/scoring", body, headers)) as answer:
        print(f"told {number}: {segment} ({answer.status})", flush=True)


def work(notice: dict) -> None:
    """Do what this flow is for. A segment that it found out itself comes back as a notice, too, and is nothing to work on."""
    if notice["type"] in {"customer.created", "customer.updated"} and "orders" in notice["data"]["fields"]:
        values = notice["data"]["values"]
        print(f"heard of {values['number']}: {notice['data']['change']}", flush=True)
        tell(values["number"], "gold" if (values["orders"] or 0) >= 10 else "silver")


class Handler(BaseHTTPRequestHandler):
    """Takes notices."""

    def do_POST(self) -> None:
        """Look, work, and answer: a notice that is not answered, because the work failed, comes again."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        number, genuine = self.headers["webhook-id"], is_genuine(self.headers, body)
        if genuine and number not in seen:
            work(json.loads(body))
            seen.add(number)
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Nothing: what matters is printed."""


HTTPServer(("127.0.0.1", 8471), Handler).serve_forever()
