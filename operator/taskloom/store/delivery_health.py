"""How deliveries to each subscription went of late."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.deliveries import DeliveryFigures, Tally
from taskloom.store.driver import as_parameter, run

# In the order of their ids, so that two who write the same rows do not wait for each other.
_ADD = """
INSERT INTO delivery_health AS h (subscription_id, last_success_at, last_failure_at, last_status,
    last_error, consecutive_failures)
SELECT t.id, t.success, t.failure, t.status, t.error, t.failures
FROM jsonb_to_recordset(%s::jsonb) AS t (id uuid, success timestamptz, failure timestamptz,
    status smallint, error text, failures int)
JOIN webhook_subscriptions AS s ON s.id = t.id
ORDER BY t.id
ON CONFLICT (subscription_id) DO UPDATE SET
    last_success_at = greatest(h.last_success_at, excluded.last_success_at),
    last_failure_at = greatest(h.last_failure_at, excluded.last_failure_at),
    last_status = coalesce(excluded.last_status, h.last_status),
    last_error = coalesce(excluded.last_error, h.last_error),
    consecutive_failures = excluded.consecutive_failures + CASE
        WHEN excluded.last_success_at IS NULL THEN h.consecutive_failures ELSE 0 END
"""

# Of those that were never delivered to, and wait for nothing, there is nothing to tell.
_FIGURES = """
SELECT s.id AS subscription_id, h.last_success_at, h.last_failure_at, h.last_status, h.last_error,
    coalesce(h.consecutive_failures, 0) AS consecutive_failures, coalesce(p.count, 0) AS pending,
    CASE WHEN s.disabled_at IS NOT NULL THEN coalesce(s.disabled_reason, '') END AS disabled
FROM webhook_subscriptions AS s
LEFT JOIN delivery_health AS h ON h.subscription_id = s.id
LEFT JOIN (
    SELECT subscription_id, count(*) FROM deliveries WHERE state = 'pending'
    GROUP BY subscription_id
) AS p ON p.subscription_id = s.id
WHERE s.managed_by <> 'api'
    AND (h.subscription_id IS NOT NULL OR p.count IS NOT NULL OR s.disabled_at IS NOT NULL)
"""


class DeliveryHealth:
    """The delivery_health table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, tallies: Sequence[Tally]) -> None:
        """Add what new attempts say; of a subscription that is gone nothing is kept."""
        rows = [
            {
                "id": item.subscription_id,
                "success": item.last_success_at,
                "failure": item.last_failure_at,
                "status": item.status,
                "error": None if item.error is None else item.error.replace("\x00", "\ufffd"),
                "failures": item.failures,
            }
            for item in tallies
        ]
        await run(self._connection, _ADD, (as_parameter(rows),))

    async def figures(self) -> list[DeliveryFigures]:
        """Read what there is to tell of the subscriptions that are declared."""
        return [_row_to_figures(row) for row in await run(self._connection, _FIGURES)]


def _row_to_figures(row: Any) -> DeliveryFigures:
    return DeliveryFigures(
        subscription_id=row.subscription_id,
        last_success_at=row.last_success_at,
        last_failure_at=row.last_failure_at,
        last_status=row.last_status,
        last_error=row.last_error,
        consecutive_failures=row.consecutive_failures,
        pending=row.pending,
        disabled=row.disabled,
    )
