"""Posts orders one after the other, and prints a line of JSON for each.

Runs in a pod, with the standard library only.
An order that is refused for now is posted again, under the same idempotency key, until it is taken.
"""

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path


def post(order: str) -> tuple[int, str]:
    """Post an order once: the status, 0 for none, and what was said."""
    body = {"key": "order-placed", "source": "poster", "payload": {"order": order, "amount": 250}}
    request = urllib.request.Request(
        f"{os.environ['URL']}/events/trigger",
        data=json.dumps(body).encode(),
        headers={
            # Read anew each time, as the kubelet replaces it.
            "authorization": f"Bearer {Path('/var/run/secrets/taskloom/token').read_text()}",
            "content-type": "application/json",
            "idempotency-key": order,
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def main() -> None:
    """Post ORDERS orders, each under a name that begins with PREFIX, with PAUSE seconds between."""
    for number in range(int(os.environ["ORDERS"])):
        order = f"{os.environ['PREFIX']}-{number}"
        failures = []
        while True:
            status, said = post(order)
            if status in (204, 400, 401, 403):
                break
            failures.append(f"{status} {said}")
            time.sleep(0.2)
        line = {"order": order, "status": status, "said": said, "failures": failures}
        print(json.dumps(line), flush=True)  # noqa: T201 - read by kubectl logs
        time.sleep(float(os.environ["PAUSE"]))


if __name__ == "__main__":
    main()
