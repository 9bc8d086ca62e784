"""Whether a cancellation is meant for us."""

import asyncio


def is_cancelled() -> bool:
    """Tell whether the present task was asked to end.

    A `CancelledError` may also come from a task that was waited for and has been cancelled.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
