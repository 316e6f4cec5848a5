"""A storage at a URI: runs work in a folder of this machine, and are copied to the URI as they go.

The working folder is a storage like any other. A run that was lost with its machine is downloaded before it is resumed.
"""

import _thread
import atexit
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex

from cmd_tune.compute.home import cache_folder
from cmd_tune.errors import CmdTuneError, UsageError, did_you_mean
from cmd_tune.files import atomic_file, home_path, write_text
from cmd_tune.remote_files import Place, RemoteFolder, beside, looks_like_uri, read_place, split_uri
from cmd_tune.runs.kept_paths import inside_storage
from cmd_tune.runs.lock_holder import Holder
from cmd_tune.runs.mirror import Mirror, download, record_sent, sent_file
from cmd_tune.runs.owner import Owner, living_owner
from cmd_tune.runs.run_folder import COMMANDS, PLAN_FILES, find_run, resume_line, storage_uri, write_storage_uri
from cmd_tune.yaml_files import read_yaml

SESSION = "session.json"  # in a run's folder: the number of its sessions, and the last one's token


class Storage:
    """Where runs go.

    folder: on this machine. uri: of which that is the working folder; empty if it is a storage itself. resume: the name
    of the run to be resumed, or the path of its folder.
    """

    def __init__(self, folder: Path, uri: str = "", resume: str | None = None) -> None:
        self.folder, self.uri, self.resume = folder, uri, resume
        self._owner: Owner | None = None
        self._mirror: Mirror | None = None

    @contextmanager
    def kept(self, run: Path, command: str, *, new: bool) -> Iterator[None]:
        """While the block runs, copy a run's folder to the URI, if there is one; at the end, all of it.

        Raises CmdTuneError if another driver has the run, or if something could not be copied.
        """
        if not self.uri:
            yield
            return
        remote = RemoteFolder(beside(self.uri, run.name))
        try:
            self._begin(remote, run, new=new)
            self._mirror = Mirror(remote, run, _say)
            with _copied(self._mirror, command):
                yield
        finally:
            self.release()

    def _begin(self, remote: RemoteFolder, run: Path, *, new: bool) -> None:
        try:
            if new and _begun(remote):
                raise UsageError(f"--name {run.name}: {remote.uri} exists; take another name")
            self._owner = self._owner or Owner(remote, self._lost)
            for name in PLAN_FILES if new else ():  # first: what is there can then be resumed
                if (run / name).is_file():
                    remote.upload(run / name, name)
            if remote.read(SESSION) is None:
                sent_file(run).unlink(missing_ok=True)
            _begin_session(remote, run)
            self._copy_inputs(run)
        except BaseException:
            if new:
                shutil.rmtree(run, ignore_errors=True)
            raise

    def _lost(self) -> None:
        """Called in a thread: another driver goes on with the run, as it may after a minute without a sign of life."""
        if self._mirror:
            self._mirror.abandon()
        uri = self._owner.remote.uri if self._owner else self.uri
        _say(f"{uri}: another driver has taken the run; this one ends")
        _thread.interrupt_main()

    def release(self) -> None:
        """Let other drivers have the run."""
        if self._owner:
            self._owner.release()
            self._owner = None

    def has(self, name: str) -> bool:
        """Whether it has a run of this name, here or at the URI, that can be resumed."""
        here = any((self.folder / name / file).is_file() for file in PLAN_FILES)
        return here or bool(self.uri and _begun(RemoteFolder(beside(self.uri, name))))

    def driver(self, name: str) -> Holder | None:
        """The process, of this machine or another, that runs a run whose files are at the URI; None if none does."""
        named = self.uri and re.fullmatch(r"\w[\w.-]*", name)
        return living_owner(RemoteFolder(beside(self.uri, name))) if named else None

    def elsewhere(self, file: str) -> list[str]:
        """The names of runs with a file of this name that are at the URI, and not on this machine."""
        if not self.uri:
            return []
        there = RemoteFolder(self.uri)
        names = [name for name in there.folders() if not (self.folder / name).exists()]
        return [name for name in names if there.mark(f"{name}/{file}") is not None]

    def find(self, name: str) -> None:
        """Bring the working folder of a run up to what the URI has, for a resume.

        What is here stays if the run's last session was here; else the URI's takes its place. Raises UsageError, with
        the nearest name, if there is no such run; CmdTuneError if another driver has it.
        """
        run = self.folder / name
        remote = RemoteFolder(beside(self.uri, name))
        if not re.fullmatch(r"\w[\w.-]*", name) or not (_begun(remote) or run.is_dir()):
            known = [folder for folder in RemoteFolder(self.uri).folders() if folder != "data"]
            hint = did_you_mean(name, known) if known else "there are none"
            raise UsageError(f"--resume {name}: {self.uri} has no such run; {hint}")
        self._owner = Owner(remote, self._lost)
        there = remote.read(SESSION)
        if not run.is_dir() or (there is not None and _supersedes(there, _read(run / SESSION))):
            _say(f"{remote.uri}: downloading to {run}")
            part = self.folder / f".{name}.{token_hex(4)}.part"
            try:
                download(remote, part)
                shutil.rmtree(run, ignore_errors=True)
                part.rename(run)
            except OSError as error:
                raise CmdTuneError(f"{self.folder}: cannot be written: {error.strerror or error}") from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
            record_sent(run)
        self._fetch_inputs(run)

    def _inputs(self, run: Path) -> Sequence[str]:
        """What a run reads of its storage beside its own folder: made-up data, or another run's checkpoint."""
        plan = next((path for name in PLAN_FILES if (path := run / name).is_file()), None)
        content = read_yaml(plan) if plan else None
        return inside_storage(content) if isinstance(content, dict) else []

    def _copy_inputs(self, run: Path) -> None:
        remote = RemoteFolder(self.uri)
        for name in self._inputs(run):
            path, there = self.folder / name, remote.mark(name)
            if path.is_file() and (there is None or there.size != path.stat().st_size):
                remote.upload(path, name)

    def _fetch_inputs(self, run: Path) -> None:
        remote = RemoteFolder(self.uri)
        for name in self._inputs(run):
            path = self.folder / name
            if not path.exists() and remote.mark(name) is not None:
                with atomic_file(path) as temporary:
                    remote.download(name, temporary)


def open_storage(storage: str, resume: str | None = None) -> Storage:
    """The storage that --storage names, with the run that --resume names in it.

    Raises UsageError for a URI of no kind that is known, CmdTuneError if it cannot be reached.
    """
    place = read_place(storage, "--storage")
    if resume and looks_like_uri(resume):
        place, resume = _storage_and_run(read_place(resume, "--resume"))
    elif resume and (folder := home_path(resume).absolute()).is_dir() and (uri := storage_uri(folder.parent)):
        place, resume = uri, folder.name  # in a working folder, by its path
    opened = Storage(*_working_folder(place), resume)
    if opened.uri and resume:
        atexit.register(opened.release)  # whatever comes between this and `kept`
        opened.find(resume)
    return opened


def command_of(storage: str, name: str) -> str:
    """The command that made a run of a storage, also of one whose files are at its URI alone.

    name: of the run, the path of its folder, or its URI. Raises UsageError, with the nearest name, if there is none.
    """
    if looks_like_uri(name):
        place, name = _storage_and_run(read_place(name, "NAME"))
        storage = str(place)
    opened = open_storage(storage)
    if opened.uri:
        there = RemoteFolder(opened.uri)
        for command, file in COMMANDS.items():
            if re.fullmatch(r"\w[\w.-]*", name) and there.mark(f"{name}/{file}") is not None:
                return command
    return find_run(opened.folder, name)[1]


def _storage_and_run(run: Place) -> tuple[Place, str]:
    return split_uri(run) if isinstance(run, str) else (run.parent, run.name)


@contextmanager
def _copied(mirror: Mirror, command: str) -> Iterator[None]:
    """Close a mirror behind the block. Raises CmdTuneError if not all could be copied, and the block raised nothing."""
    remote, run = mirror.remote, mirror.folder
    complete = False
    try:
        yield
        complete = True
    finally:
        try:
            trouble = mirror.close()
        except KeyboardInterrupt:
            mirror.abandon()
            trouble = "interrupted"
        if not run.exists():  # it ended before it began
            _remove(remote, run)
        elif trouble:
            rest = f"the rest is in {run}, and is copied by: {resume_line(command, run)}"
            if complete:
                raise CmdTuneError(f"{remote.uri}: is not complete: {trouble}; {rest}")
            _say(f"{remote.uri}: is not complete: {trouble}; {rest}")


def _working_folder(place: Place) -> tuple[Path, str]:
    uri = place if isinstance(place, str) else storage_uri(place)
    if not uri:
        assert isinstance(place, Path)
        return place, ""
    RemoteFolder(uri).check()
    name = re.sub(r"[^\w.-]+", "-", uri.partition("?")[0].partition("://")[2])[-40:].strip("-.")
    folder = cache_folder() / "storages" / f"{name}-{blake2b(uri.encode(), digest_size=4).hexdigest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CmdTuneError(f"{folder}: cannot be made: {error.strerror}; name another in XDG_CACHE_HOME") from error
    write_storage_uri(folder, uri)
    return folder, uri


def _begun(remote: RemoteFolder) -> bool:
    """Whether a run is there, and not only the sign of life of a driver that was about to begin it."""
    return any(not name.startswith(".") for name in remote.files())


def _begin_session(remote: RemoteFolder, run: Path) -> None:
    """Number this session, here and there: whoever has the last token has the latest files."""
    number = max(_number(_read(run / SESSION)), _number(remote.read(SESSION))) + 1
    content = json.dumps({"session": number, "token": token_hex(8)})
    write_text(run / SESSION, content)
    remote.write(SESSION, content.encode())


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _session(content: bytes | None) -> dict[str, object]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _supersedes(there: bytes, here: bytes | None) -> bool:
    """Whether the last session of a run was elsewhere: not one that began here and could not say so there."""
    return _session(there).get("token") != _session(here).get("token") and _number(there) >= _number(here)


def _number(content: bytes | None) -> int:
    number = _session(content).get("session")
    return number if isinstance(number, int) else 0


def _remove(remote: RemoteFolder, run: Path) -> None:
    for name in remote.files():
        remote.delete(name)
    sent_file(run).unlink(missing_ok=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
