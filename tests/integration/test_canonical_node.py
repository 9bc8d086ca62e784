"""Node.js itself is the judge of what JavaScript prints."""

import json
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.domain.canonical import parse_json, render, stringify
from taskloom.errors import Invalid

SCRIPT = Path(__file__).parents[1] / "node" / "stringify.mjs"


@pytest.fixture(scope="module")
def print_in_node(node: str) -> Iterator[Callable[[str], str | None]]:
    """Give what Node prints for a document, None if it refuses it; one process serves them all."""
    with subprocess.Popen([node, str(SCRIPT)], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin
        assert process.stdout
        to_node, from_node = process.stdin, process.stdout

        def ask(document: str) -> str | None:
            to_node.write(f"{json.dumps(document)}\n".encode())
            to_node.flush()
            answer: str | None = json.loads(from_node.readline())
            return answer

        yield ask
        to_node.close()


def print_here(document: str) -> str | None:
    """Give what we print for a document, None if we refuse it."""
    try:
        return stringify(parse_json(document))
    except Invalid:
        return None


def mutations(seed: int, count: int) -> list[str]:
    """Build documents at random out of pieces that are known to be awkward, many of them broken."""
    pieces = [
        *'{}[]:,"\\ \t\n0123456789.eE+-',
        *[
            "null",
            "true",
            "NaN",
            '"a"',
            '"1"',
            '"\\ud83d"',
            "\\ude00",
            "\ud83d",
            "\ude00",
            "\u2028",
        ],
        *["1e21", "-0", "0.1", "1e400", "1E-7", "9007199254740993", '"__proto__":', '"0":', '"b":'],
    ]
    choose = random.Random(seed)
    return ["".join(choose.choices(pieces, k=choose.randint(1, 9))) for _ in range(count)]


def doubles(seed: int, count: int) -> list[str]:
    """Write doubles of every magnitude in several notations."""
    choose = random.Random(seed)
    documents = []
    for _ in range(count):
        (value,) = struct.unpack("<d", choose.randbytes(8))
        if value - value == 0:
            documents += [repr(value), f"{value:.25e}", f"{value:.3e}"]
        exponent = choose.randint(-330, 330)
        documents.append(f"{choose.randint(-(10**20), 10**20)}e{exponent}")
        documents.append(str(choose.randint(-(10**25), 10**25)))
    return documents


@pytest.mark.parametrize(
    "documents", [mutations(1, 20_000), doubles(2, 3_000)], ids=["mutations", "doubles"]
)
def test_we_print_and_refuse_what_node_does(
    print_in_node: Callable[[str], str | None], documents: list[str]
) -> None:
    """Thousands of documents, valid or broken, come out as from Node."""
    for document in documents:
        assert print_in_node(document) == print_here(document), document


def test_the_exact_form_means_the_same_to_node(
    print_in_node: Callable[[str], str | None],
) -> None:
    """Node makes the printed form of the exact one, whatever digits that one keeps."""
    for number in doubles(3, 1_000):
        rendering = render(f'{{"a":[{number}],"1":{number}}}')

        assert print_in_node(rendering.exact) == rendering.printed


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=[])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=[])) | st.integers(0, 2**33).map(str), inner
        )
    ),
    max_leaves=10,
)


@given(_JSON, st.booleans())
@settings(max_examples=500, deadline=None)
def test_whole_documents_come_out_as_from_node(
    print_in_node: Callable[[str], str | None], value: object, ascii_only: bool
) -> None:
    """Generated documents, with and without escapes, come out as from Node."""
    document = json.dumps(value, ensure_ascii=ascii_only)

    assert print_in_node(document) == print_here(document)
