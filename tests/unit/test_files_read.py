"""A folder of manifests: what is taken, what is refused, and what stands when something breaks."""

import base64
import os
from pathlib import Path

import pytest

from taskloom.providers.files.read import merge, read_folder
from taskloom.reconcilers.snapshot import Snapshot

API = "apiVersion: taskloom.dev/v1alpha1\n"


def mapping(name: str, key: str = "purchase") -> str:
    """Write a valid EventMapping."""
    return (
        f"{API}kind: EventMapping\nmetadata:\n  name: {name}\n"
        f"spec:\n  eventKey: {key}\n  workflowKey: buy\n"
    )


def secret(name: str, value: str) -> str:
    """Write a Secret."""
    encoded = base64.b64encode(value.encode()).decode()
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata: {{word: {encoded}}}\n"


def names(snapshot: Snapshot) -> list[str]:
    """List the resources' names."""
    return sorted(declared.resource.metadata.name for declared in snapshot.resources)


def problems(snapshot: Snapshot) -> list[str]:
    """List the problems as they are printed."""
    return [str(problem) for problem in snapshot.problems]


def test_one_bad_resource_among_ten(tmp_path: Path) -> None:
    """Nine work, and the tenth is named with its file, line, field and reason."""
    good = "---\n".join(mapping(f"m{index}") for index in range(9))
    (tmp_path / "all.yaml").write_text(f"{good}---\n{mapping('bad', key='a b')}")

    snapshot = read_folder(tmp_path)

    assert len(snapshot.resources) == 9
    assert [item.key for item in snapshot.refused] == [("EventMapping", "default", "bad")]
    (problem,) = problems(snapshot)
    assert problem.startswith("all.yaml:78: EventMapping default/bad: spec.eventKey: Invalid value")
    assert snapshot.complete
    assert not snapshot.broken


def test_a_folder_is_read_all_the_way_down(tmp_path: Path) -> None:
    """Subfolders, both suffixes, JSON, and none of the files that are not manifests."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/one.yml").write_text(mapping("one"))
    (tmp_path / "two.json").write_text(
        '{"apiVersion": "taskloom.dev/v1alpha1", "kind": "EventMapping", '
        '"metadata": {"name": "two"}, "spec": {"eventKey": "*", "workflowKey": "w"}}'
    )
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / ".hidden.yaml").write_text("not: [yaml")
    (tmp_path / "three.yaml~").write_text("not: [yaml")
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["one", "two"]
    assert problems(snapshot) == []


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    """Kubernetes mounts files as links into a folder whose name begins with dots."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026/one.yaml").write_text(mapping("one"))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "one.yaml").symlink_to("..data/one.yaml")

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["one"]
    assert problems(snapshot) == []


def test_links_that_go_in_circles_end(tmp_path: Path) -> None:
    """No folder is entered twice, whichever way leads to it."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/one.yaml").write_text(mapping("one"))
    (tmp_path / "sub/up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["one"]
    assert {"gone.yaml", "self.yaml"} == snapshot.broken


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"a: [1", "bad.yaml:1: not valid YAML"),
        (b"a: b\n\tc: d\n", "bad.yaml:2: not valid YAML"),
        (b"a: b\nc: \xff\xfe\n", "bad.yaml:2: not valid UTF-8"),
        (b"\xff\xfea", "bad.yaml:1: not valid UTF-16"),
        (b"a: \x00", "bad.yaml:1: not valid YAML: character #x0000"),
        (b"just text", "bad.yaml:1: a document must be a map"),
        (b"- a\n- b\n", "bad.yaml:1: a document must be a map"),
        (b"a: b", "bad.yaml:1: kind is missing"),
        (b"kind: Workflow", "bad.yaml:1: apiVersion is missing"),
        (b"kind: [a]\napiVersion: v1", "bad.yaml:1: kind is missing"),
        (b"---\n---\nkind: Flow\napiVersion: taskloom.dev/v1alpha1", "no matches for kind"),
        (API.encode() + b"kind: Workflow\nmetadata: 5\nspec: {}", "metadata: Required value"),
        (b"#" * (16 * 1024 * 1024 + 1), "bad.yaml:1: larger than"),
    ],
)
def test_a_bad_file_is_a_problem_with_its_place(
    tmp_path: Path, content: bytes, fragment: str
) -> None:
    """Whatever is in one file, the others are read."""
    (tmp_path / "bad.yaml").write_bytes(content)
    (tmp_path / "good.yaml").write_text(mapping("good"))

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["good"]
    (problem,) = problems(snapshot)
    assert fragment in problem


def test_marks_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    """A byte order mark, CRLF and UTF-16 are read."""
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + mapping("a").replace("\n", "\r\n").encode())
    (tmp_path / "b.yaml").write_bytes(mapping("b").encode("utf-16"))

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["a", "b"]
    assert problems(snapshot) == []


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    """Only regular files are read."""
    os.mkfifo(tmp_path / "pipe.yaml")

    assert problems(read_folder(tmp_path)) == ["pipe.yaml:1: not a regular file"]


def test_a_folder_called_like_a_file_is_a_folder(tmp_path: Path) -> None:
    """A folder's name does not matter."""
    (tmp_path / "things.yaml").mkdir()
    (tmp_path / "things.yaml/one.yaml").write_text(mapping("one"))

    assert names(read_folder(tmp_path)) == ["one"]


def test_a_file_name_of_any_bytes_is_printable(tmp_path: Path) -> None:
    """Names that are not UTF-8 do not end up in logs or the database as they are."""
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml"))).write_text("a: [")

    (problem,) = problems(read_folder(tmp_path))
    assert problem.startswith("\ufffd.yaml:1: ")


def test_lists_are_taken_apart(tmp_path: Path) -> None:
    """A List and a typed list hold objects like any others."""
    (tmp_path / "list.yaml").write_text(
        "apiVersion: v1\nkind: List\nitems:\n"
        "- apiVersion: taskloom.dev/v1alpha1\n  kind: EventMapping\n  metadata: {name: a}\n"
        "  spec: {eventKey: '*', workflowKey: w}\n"
        "- apiVersion: taskloom.dev/v1alpha1\n  kind: EventMapping\n  metadata: {name: b}\n"
        "  spec:\n    eventKey: 'x y'\n    workflowKey: w\n"
        "- 5\n"
        "---\napiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: c}, data: {k: v}}]\n"
    )

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["a"]
    assert {("default", "c")} == set(snapshot.config_maps)
    assert [str(p.place) for p in snapshot.problems] == ["list.yaml:12", "list.yaml:14"]


def test_config_maps_and_secrets_are_read(tmp_path: Path) -> None:
    """data, binaryData and stringData give bytes; stringData wins."""
    (tmp_path / "all.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n"
        "data: {a: text, empty: }\nbinaryData: {b: AAEC}\n"
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: Opaque\n"
        "data: {one: b25l, two: dHdv}\nstringData: {two: three}\n"
    )

    snapshot = read_folder(tmp_path)

    expected = {"a": b"text", "empty": b"", "b": b"\x00\x01\x02"}
    assert expected == snapshot.config_maps["shop", "c"].data
    assert snapshot.secrets["default", "s"].data == {"one": b"one", "two": b"three"}


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        ("data: {word: sesame!}", "data.word: Invalid value: must be valid base64"),
        ("data: {word: 5}", "data.word: Invalid value: must be a string"),
        ("stringData: {word: true}", "stringData.word: Invalid value: must be a string"),
        ("data: sesame", "data: Invalid value: must be a map"),
        ("stringData: {'a/b': sesame}", "stringData.a/b: Invalid value: a key must"),
        ("dta: {word: sesame}", 'dta: unknown field "dta"'),
    ],
)
def test_a_bad_secret_is_a_problem_that_does_not_show_it(
    tmp_path: Path, body: str, fragment: str
) -> None:
    """The field is named, the value never."""
    (tmp_path / "s.yaml").write_text(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{body}")

    snapshot = read_folder(tmp_path)

    assert "sesame" not in repr(snapshot)
    (problem,) = problems(snapshot)
    assert fragment in problem


def test_a_secret_is_never_printed(tmp_path: Path) -> None:
    """A snapshot in a log shows no secret."""
    (tmp_path / "s.yaml").write_text(secret("s", "sesame"))

    assert "sesame" not in repr(read_folder(tmp_path))


def test_an_object_that_stands_twice_is_told_with_both_places(tmp_path: Path) -> None:
    """The first one holds, in the order of file names."""
    (tmp_path / "a.yaml").write_text(mapping("m", key="first"))
    (tmp_path / "b.yaml").write_text(f"{mapping('other')}---\n{mapping('m', key='second')}")

    snapshot = read_folder(tmp_path)

    assert names(snapshot) == ["m", "other"]
    expected = "b.yaml:9: EventMapping default/m stands twice: the one at a.yaml:1 holds"
    assert [expected] == problems(snapshot)


def test_foreign_kinds_and_kustomizations_are_left_aside(tmp_path: Path) -> None:
    """They are noted, not refused: the same folder may be applied to a cluster."""
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]")
    (tmp_path / "a.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n")

    snapshot = read_folder(tmp_path)

    assert problems(snapshot) == []
    assert [note.place.file for note in snapshot.notes] == ["a.yaml", "kustomization.yaml"]


def test_a_key_given_twice_is_noted(tmp_path: Path) -> None:
    """The last one holds, as kubectl has it."""
    (tmp_path / "a.yaml").write_text(mapping("m") + "  eventKey: other\n")

    snapshot = read_folder(tmp_path)

    assert [str(note.place) for note in snapshot.notes] == ["a.yaml:8"]
    assert names(snapshot) == ["m"]


def test_a_folder_that_is_not_there_says_nothing_about_what_is_gone(tmp_path: Path) -> None:
    """A snapshot of a missing folder is incomplete."""
    snapshot = read_folder(tmp_path / "nowhere")

    assert not snapshot.complete
    assert "the folder cannot be read: No such file or directory" in problems(snapshot)[0]


def test_a_broken_file_leaves_what_it_held_standing(tmp_path: Path) -> None:
    """Objects, ConfigMaps and Secrets of the file stay; the others change as they should."""
    (tmp_path / "a.yaml").write_text(f"{mapping('a')}---\n{secret('s', 'word')}")
    (tmp_path / "b.yaml").write_text(mapping("b"))
    before = merge(None, read_folder(tmp_path))
    (tmp_path / "a.yaml").write_text(mapping("a")[:-20] + "\n  [")
    (tmp_path / "b.yaml").write_text(mapping("c"))

    after = merge(before, read_folder(tmp_path))

    assert names(after) == ["a", "c"]
    assert {("default", "s")} == set(after.secrets)
    assert {"a.yaml"} == after.broken
    assert len(after.problems) == 1


def test_a_file_that_stays_broken_keeps_what_it_held(tmp_path: Path) -> None:
    """The last good state outlives several bad ones, and goes when the file is mended."""
    (tmp_path / "a.yaml").write_text(mapping("a"))
    state = merge(None, read_folder(tmp_path))
    for content in ("a: [", "a: {", "\t"):
        (tmp_path / "a.yaml").write_text(content)
        state = merge(state, read_folder(tmp_path))
        assert names(state) == ["a"]

    (tmp_path / "a.yaml").write_text("# nothing\n")
    state = merge(state, read_folder(tmp_path))

    assert names(state) == []
    assert problems(state) == []


def test_an_object_that_became_invalid_keeps_its_last_valid_form(tmp_path: Path) -> None:
    """As in a cluster, where the API server refuses the change."""
    (tmp_path / "a.yaml").write_text(f"{mapping('a')}---\n{secret('s', 'word')}")
    before = merge(None, read_folder(tmp_path))
    (tmp_path / "a.yaml").write_text(
        mapping("a", key="x y") + "---\n" + secret("s", "word").replace("d29yZA==", "'!'")
    )

    after = merge(before, read_folder(tmp_path))

    assert names(after) == ["a"]
    assert after.secrets["default", "s"].data["word"] == b"word"
    assert {"EventMapping", "Secret"} == {item.key[0] for item in after.refused}


def test_a_folder_that_vanishes_leaves_everything_standing(tmp_path: Path) -> None:
    """An unmounted folder is no order to delete."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.yaml").write_text(mapping("a"))
    before = merge(None, read_folder(folder))
    (folder / "a.yaml").unlink()
    folder.rmdir()

    after = merge(before, read_folder(folder))

    assert names(after) == ["a"]
    assert not after.complete


def test_an_object_that_moves_to_another_file_moves(tmp_path: Path) -> None:
    """The new place is its place, even while the old file is broken."""
    (tmp_path / "a.yaml").write_text(mapping("a"))
    before = merge(None, read_folder(tmp_path))
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text(mapping("a"))

    after = merge(before, read_folder(tmp_path))

    assert [item.place.file for item in after.resources if item.place] == ["b.yaml"]


def test_a_file_below_a_folder_that_cannot_be_read_counts_as_broken() -> None:
    """What was last seen below such a folder stands."""
    snapshot = Snapshot(provider="file", broken=frozenset({"team"}))

    assert snapshot.is_broken("team/a.yaml")
    assert not snapshot.is_broken("teams/a.yaml")
