"""When the secrets of a client are made anew, and how long the former ones stay good.

::

    generate ─► Secret ─► database ─► status

At each step what is in force stands somewhere: until the database has the new secrets, it has the
old ones.  A rotation that is due finds those that an interrupted one left in the Secret, as they
differ from the database's, and takes them instead of making a third generation.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.domain.webhooks import FormerSecrets
from taskloom.resources.client_app import ClientApp
from taskloom.resources.fields import parse_duration

SHORTEST_INTERVAL = timedelta(seconds=1)
"""No object is rotated more often, whatever it asks for: each rotation is work for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What an object asks for."""

    revision: int
    interval: timedelta | None
    overlap: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """What is remembered of the secrets in force."""

    revision: int
    issued_at: datetime
    former: FormerSecrets | None


def rotation_of(app: ClientApp) -> Rotation | None:
    """Read what an object asks for; None for credentials that somebody else keeps."""
    generated = app.spec.credentials.generated
    if app.spec.credentials.imported is not None or generated is None:
        return None
    wish = generated.rotation
    return Rotation(
        revision=wish.revision,
        interval=(
            None if wish.interval is None else max(SHORTEST_INTERVAL, parse_duration(wish.interval))
        ),
        overlap=parse_duration(wish.overlap),
    )


def issued_at(client: Client) -> datetime:
    """Tell when a client's secrets were made or taken over."""
    return client.issued_at or client.created_on


def next_rotation(client: Client, rotation: Rotation | None) -> datetime | None:
    """Tell when a client's secrets are made anew by time."""
    if rotation is None or rotation.interval is None:
        return None
    return issued_at(client) + rotation.interval


def is_due(client: Client | None, rotation: Rotation | None, now: datetime) -> bool:
    """Tell whether a client's secrets are to be made anew; a new client's never are."""
    if client is None or rotation is None:
        return False
    by_time = next_rotation(client, rotation)
    return rotation.revision > client.revision or (by_time is not None and by_time <= now)


def issue(
    client: Client | None,
    rotation: Rotation | None,
    *,
    api_secret: Secret,
    signing_secret: Secret,
    now: datetime,
    tampered: bool = False,
) -> Issue:
    """Say what is to be remembered when a client has these secrets.

    Secrets that changed when a rotation was due leave the former ones behind; those that somebody
    changed by hand do not and end an overlap, as whoever does that wants the old ones refused.
    A row that was `tampered` with leaves nothing behind: its rotation stays due until it is mended.
    A revision that was lowered, as an object's made anew may be, is followed without a rotation.
    """
    if client is None:
        return Issue(
            revision=0 if rotation is None else rotation.revision, issued_at=now, former=None
        )
    if tampered:
        return Issue(revision=client.revision, issued_at=issued_at(client), former=None)
    changed = (client.api_secret, client.signing_secret) != (api_secret, signing_secret)
    if is_due(client, rotation, now):
        assert rotation is not None, "only what asks for it is due"
        if not changed:  # the new ones could not be kept: it stays due
            return Issue(
                revision=client.revision,
                issued_at=issued_at(client),
                former=_still_good(client, rotation, now),
            )
        return Issue(
            revision=rotation.revision,
            issued_at=now,
            former=_leave_behind(client, rotation, now),
        )
    return Issue(
        revision=client.revision if rotation is None else rotation.revision,
        issued_at=now if changed else issued_at(client),
        former=None if changed else _still_good(client, rotation, now),
    )


def moments(client: Client, rotation: Rotation | None) -> tuple[datetime, ...]:
    """List when something of a client changes by time alone."""
    ends = None if client.former is None else client.former.valid_until
    return tuple(at for at in (ends, next_rotation(client, rotation)) if at is not None)


def _leave_behind(client: Client, rotation: Rotation, now: datetime) -> FormerSecrets | None:
    if rotation.overlap <= timedelta(0):
        return None
    return FormerSecrets(
        api_secret=client.api_secret,
        signing_secret=client.signing_secret,
        valid_until=now + rotation.overlap,
    )


def _still_good(client: Client, rotation: Rotation | None, now: datetime) -> FormerSecrets | None:
    """Keep former secrets until their time; an overlap made shorter ends it earlier."""
    former = client.former_at(now)
    if former is None or rotation is None:
        return former
    ends = min(former.valid_until, issued_at(client) + rotation.overlap)
    if ends <= now:
        return None
    return FormerSecrets(
        api_secret=former.api_secret, signing_secret=former.signing_secret, valid_until=ends
    )
