"""Files at a URI, on a real S3 server; what is typed as a URI and is none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cmd_tune import remote_files
from cmd_tune.errors import UsageError
from cmd_tune.remote_files import RemoteError, RemoteFolder, beside, looks_like_uri, read_place, redacted, split_uri


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("runs", Path("runs")),
        ("/a/b c", Path("/a/b c")),
        ("./s3:/x", Path("s3:/x")),
        ("a:b", Path("a:b")),
        ("C:/x", Path("C:/x")),
        ("file:///a/b%20c", Path("/a/b c")),
        ("file://localhost/a", Path("/a")),
        ("s3://b", "s3://b"),
        ("s3://b/runs/", "s3://b/runs"),
        ("s3://b/a b/ü", "s3://b/a b/ü"),
        ("s3://b/r?region=eu-north-1&endpoint_override=h:1", "s3://b/r?region=eu-north-1&endpoint_override=h:1"),
        ("gs://b/r", "gs://b/r"),
        ("abfs://c@account.dfs.core.windows.net/r", "abfs://c@account.dfs.core.windows.net/r"),
    ],
)
def test_what_is_a_path_and_what_a_uri(text: str, place: object) -> None:
    assert read_place(text, "--storage") == place


KINDS = "is no kind of storage that is known"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3:/x", "--storage s3:/x: names no bucket; write s3://BUCKET/FOLDER, or ./ before the name of a folder here"),
        ("s3:x", "--storage s3:x: names no bucket; write s3://BUCKET/FOLDER, or ./ before the name of a folder here"),
        (
            "s3:///x",
            "--storage s3:///x: names no bucket; write s3://BUCKET/FOLDER, or ./ before the name of a folder here",
        ),
        ("S3://b/x", f"--storage S3://b/x: S3:// {KINDS}; write s3://"),
        ("s4://b/x", f"--storage s4://b/x: s4:// {KINDS}; did you mean 's3'?"),
        ("s3a://b/x", f"--storage s3a://b/x: s3a:// {KINDS}; write s3://BUCKET/FOLDER"),
        ("hdfs://h/x", f"--storage hdfs://h/x: hdfs:// {KINDS}; mount it, and name the folder"),
        ("az://c/x", f"--storage az://c/x: az:// {KINDS}; write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER"),
        ("xyz:/b", f"--storage xyz:/b: xyz:// {KINDS}; known: abfs, abfss, file, gs, s3"),
        ("file://h/x", "--storage file://h/x: is no URI of a file here; write file:///PATH, or the path itself"),
        ("s3://b/../x", "--storage s3://b/../x: has '#', '//' or '..' in it; write s3://BUCKET/FOLDER"),
        ("s3://b/x?regoin=x", "--storage s3://b/x: unknown ?regoin=, did you mean 'region'?"),
    ],
)
def test_what_is_neither_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_place(text, "--storage")
    assert refused.value.lines == [said]


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA:hunter2@b/x",
        "s3://AKIA:hun/ter2@b/x",
        "s3://hunter2@b/x",
        "s3://b/x?access_key=a&secret_key=hunter2",
        "s3://b/x?endpoint_override=http://me:hunter2@h",
        "hdfs://me:hunter2@h/x",
        "S3://me:hunter2@h/x",
        "s3:/me:hunter2@h/x",
        "abfs://me:hunter2@h/x",
        "file://me:hunter2@h/x",
    ],
)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_place(text, "--storage")
    assert "hun" not in str(refused.value)
    assert len(refused.value.lines) == 1
    assert "hun" not in redacted(text)


def test_names_below_a_uri_come_before_its_question_mark() -> None:
    assert beside("s3://b/r?region=x", "p/a.pt") == "s3://b/r/p/a.pt?region=x"
    assert split_uri("s3://b/r/p?region=x") == ("s3://b/r?region=x", "p")
    assert [looks_like_uri(text) for text in ("s3:b", "nfs:/a", "a.b+c:/d", "a/b:/c", "x:y")] == [True] * 3 + [
        False
    ] * 2


def test_files_come_back_as_they_went(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_WHOLE", 1000)  # larger ones are mapped
    folder = RemoteFolder(s3)
    contents = {"a.txt": b"", "trials/000/b c.pt": b"x" * 1000, "trials/001/ü#1.pt": bytes(range(256)) * 5}
    for name, content in contents.items():
        (tmp_path / "it").write_bytes(content)
        folder.upload(tmp_path / "it", name)
        assert folder.read(name) == content
        folder.download(name, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == content
    assert {name: mark.size for name, mark in folder.files().items()} == {
        name: len(content) for name, content in contents.items()
    }
    assert set(folder.files("trials/000")) == {"trials/000/b c.pt"}
    assert folder.folders() == ["trials"]
    folder.delete("a.txt")
    folder.delete("none")
    assert (folder.read("a.txt"), folder.mark("a.txt")) == (None, None)


SLOW = pytest.mark.slow


@contextmanager
def cut_after(most: int, server: str) -> Iterator[str]:
    """The address of a server's door, at which nobody answers any more once so many bytes have gone through."""
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = server.removeprefix("http://").rsplit(":", 1)
    through, ends = 0, [listener]

    def carry(source: socket.socket, to: socket.socket) -> None:
        nonlocal through
        with suppress(OSError):
            while (chunk := source.recv(2**16)) and through < most:
                through += len(chunk)
                to.sendall(chunk)
        for end in (source, to) if through < most else ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, there = listener.accept()[0], socket.create_connection((host, int(port)))
                ends.extend((client, there))
                for pair in ((client, there), (there, client)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for end in ends:
            end.close()


@pytest.mark.parametrize("most", [12 * 10**6, *(pytest.param(most, marks=SLOW) for most in (10**6, 21 * 10**6))])
def test_an_upload_that_is_cut_leaves_what_was_there(
    s3: str, s3_server: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the second part, within the first, and behind the last, before the server knows of the end."""
    folder = RemoteFolder(s3)
    folder.write("checkpoint.pt", b"whole")
    with cut_after(most, s3_server) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door)
        with pytest.raises(RemoteError, match=r"/checkpoint.pt: cannot be written: "):
            RemoteFolder(s3).write("checkpoint.pt", bytes(21 * 10**6))
    assert folder.read("checkpoint.pt") == b"whole"
    assert set(folder.files()) == {"checkpoint.pt"}


def test_a_new_content_has_a_new_mark(s3: str) -> None:
    folder = RemoteFolder(s3)
    folder.write("a", b"12")
    before = folder.mark("a")
    folder.write("a", b"123")
    assert before
    assert folder.mark("a") != before
    assert before.size == 2


def test_an_address_in_the_uri_comes_first(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    RemoteFolder(s3).write("a", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for query in (
        f"endpoint_override={s3_server}",
        f"scheme=http&endpoint_override={s3_server.removeprefix('http://')}",
    ):
        assert RemoteFolder(read_place(f"{s3}?{query}", "--storage")).read("a") == b"1"


def test_what_a_server_refuses_is_one_line_with_the_cure(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError) as none:
        RemoteFolder("s3://nobody/runs").check()
    assert str(none.value) == "s3://nobody/runs: there is no bucket nobody; make it first"
    with pytest.raises(RemoteError, match=r"^s3://nobody/runs/a: cannot be written: .* \(NO_SUCH_BUCKET\)$"):
        RemoteFolder("s3://nobody/runs").write("a", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError) as dead:
        RemoteFolder(s3).check()
    assert "\n" not in str(dead.value)
    assert str(dead.value).endswith(
        "(NETWORK_CONNECTION); its address is that of AWS_ENDPOINT_URL or ?endpoint_override="
    )


def test_a_disk_that_cannot_be_written_to_is_not_the_servers_fault(s3: str, tmp_path: Path) -> None:
    RemoteFolder(s3).write("a", b"1")
    with pytest.raises(FileNotFoundError):
        RemoteFolder(s3).download("a", tmp_path / "none" / "a")
    with pytest.raises(FileNotFoundError):
        RemoteFolder(s3).upload(tmp_path / "none", "a")
