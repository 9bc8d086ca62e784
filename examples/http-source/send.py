"""Tells of an issue as GitHub does: python send.py ACTION [URL]."""

import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8080/sources/issues"
SECRET = os.environ.get("ISSUES_SECRET", "a secret that only the two of us know")


def send(action: str, url: str) -> int:
    """Post the body with the HMAC of its very bytes; give the answer's status."""
    issue = {"number": 7, "title": 'The "desk" wobbles'}
    repository = {"full_name": "acme/furniture"}
    body = json.dumps({"action": action, "issue": issue, "repository": repository}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(  # noqa: S310 - the URL is the caller's own
        url,
        body,
        {
            "content-type": "application/json",
            "x-github-delivery": f"{action}-{issue['number']}",
            "x-hub-signature-256": f"sha256={signature}",
        },
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            status: int = answer.status
            return status
    except urllib.error.HTTPError as refusal:
        print(refusal.read().decode(), file=sys.stderr)
        return refusal.code


if __name__ == "__main__":
    print(send(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else URL))
