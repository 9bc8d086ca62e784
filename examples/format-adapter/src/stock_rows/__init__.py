"""A format of one's own: what is left of an article, as a row of comma-separated values."""

import csv
from collections.abc import Mapping

from taskloom.errors import Invalid
from taskloom.ports.adapter import Adapted

FEW = 5


def read_stock(body: bytes, headers: Mapping[str, str]) -> Adapted:
    """Read ``sku,name,left``: the key is stock.low while few are left, else stock.changed."""
    try:
        rows = list(csv.reader(body.decode().splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Invalid("The message must be comma-separated values in UTF-8.") from error
    if len(rows) != 1 or len(rows[0]) != 3:
        raise Invalid("The message must be one row of three columns: sku, name, left.")
    sku, name, left = rows[0]
    if not left.isascii() or not left.isdigit() or len(left) > 9:
        raise Invalid("The third column, left, must be a whole number.", field="left")
    return Adapted(
        key="stock.low" if int(left) < FEW else "stock.changed",
        payload={"sku": sku, "name": name, "left": int(left)},
        source=headers.get("x-warehouse", "")[:255] or None,
        description=f"{left} of {name} are left"[:10_000],
    )
