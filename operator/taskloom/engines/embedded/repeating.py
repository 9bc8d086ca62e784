"""The instances of a multi-instance activity: begun, counted, ended by their body."""

from taskloom.engines.embedded import model
from taskloom.engines.embedded.multi_instance import (
    ACTIVE,
    ALL,
    COMPLETED,
    COUNTER,
    count_instances,
    is_done,
    loop_variables,
)
from taskloom.engines.embedded.state import Activity
from taskloom.engines.embedded.tokens import Token, Tokens


def begin_instances(tokens: Tokens, loop: model.MultiInstance, body: Activity, most: int) -> int:
    """Let the first instance begin, or all of them; give how many are to be done.

    More than `most` at once are not begun: the caller is to refuse them.
    """
    inner = tokens.process.nodes[loop.inner]
    number = count_instances(loop, tokens.place(body.id, inner))
    at_once = min(1, number) if loop.sequential else number
    if at_once > most:
        return number
    for name, value in ((ALL, number), (COMPLETED, 0), (ACTIVE, at_once)):
        tokens.scopes.set_own(name, value, body.id)
    begun = [_instance(tokens, loop, body, counter) for counter in range(at_once)]
    tokens.scopes.tokens[body.id] = at_once
    tokens.ahead.extend(reversed(begun))
    return number


def end_instance(
    tokens: Tokens, loop: model.MultiInstance, body: Activity, activity: Activity
) -> bool:
    """Count an instance that is complete and let the next begin; tell whether the body is done."""
    scopes = tokens.scopes
    scopes.set_own(COMPLETED, scopes.own(COMPLETED, body.id) + 1, body.id)
    if not loop.sequential:
        scopes.set_own(ACTIVE, scopes.own(ACTIVE, body.id) - 1, body.id)
    done = is_done(loop, tokens.place(activity.id, tokens.node(activity)))
    tokens.close(activity)
    scopes.tokens[body.id] -= 1
    following = scopes.own(COUNTER, body.id) + 1 if loop.sequential else 0
    if loop.sequential and not done and following < scopes.own(ALL, body.id):
        scopes.tokens[body.id] += 1
        tokens.ahead.append(_instance(tokens, loop, body, following))
    if not done and scopes.tokens[body.id]:
        return False
    tokens.cancel_within(body.id)
    return True


def _instance(tokens: Tokens, loop: model.MultiInstance, body: Activity, counter: int) -> Token:
    inner = tokens.process.nodes[loop.inner]
    variables = loop_variables(loop, counter, tokens.place(body.id, inner))
    if not loop.sequential:
        return Token(loop.inner, body.id, variables)
    for name, value in variables.items():  # as on Camunda they are the body's
        tokens.scopes.set_own(name, value, body.id)
    return Token(loop.inner, body.id, {})
