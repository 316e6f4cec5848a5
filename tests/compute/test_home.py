"""A user without a home folder or an trial in passwd, as containers have them."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.compute.home import is_ours_alone, private_cache

CODE = """
import os, pwd, sys
def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
sys.argv = ["cmd_tune", "inspect", sys.argv[1]]
from cmd_tune.cli import main
from cmd_tune.compute.home import cache_folder
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
import getpass
from pathlib import Path
import ray.tune, ray.train.torch
print(getpass.getuser(), Path.home(), cache_folder())
"""


@pytest.mark.long
@pytest.mark.parametrize("home", [None, "/"])
def test_a_user_whom_nobody_knows(home: str | None, tiny_store, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    environment |= {"TMPDIR": str(tmp_path)} | ({} if home is None else {"HOME": home})
    command = [sys.executable, "-c", CODE, tiny_store.path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    user, folder, cache = done.stdout.splitlines()[-1].split()
    assert (user, cache) == (str(os.getuid()), f"{folder}/.cache/cmd_tune")
    assert Path(folder).parent == tmp_path
    assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700


def test_another_users_folder_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    (tmp_path / f"cmd_tune-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"cmd_tune-{os.getuid()}").chmod(0o777)
    code = "from cmd_tune.compute.home import ensure_home; ensure_home(); from pathlib import Path; print(Path.home())"
    environment = os.environ | {"HOME": "/", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).name.startswith("cmd_tune-")
    assert Path(done.stdout.strip()) != tmp_path / f"cmd_tune-{os.getuid()}"


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root can be somebody else")
def test_a_home_that_may_not_be_written_to_is_none(tmp_path: Path) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    for folder in (place, *place.parents):
        folder.chmod(folder.stat().st_mode | 0o755)
    place.chmod(0o777)
    # Another user may not read a root's packages: of this one the file alone is needed.
    code = (Path(__file__).parents[2] / "cmd_tune" / "compute" / "home.py").read_text(encoding="utf-8")
    environment = os.environ | {"HOME": "/usr", "TMPDIR": str(place), "PATH": "/usr/bin:/bin"}
    command = [
        "setpriv",
        "--reuid=12345",
        "--clear-groups",
        "python3",
        "-c",
        f"{code}\nensure_home(); print(Path.home())",
    ]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"another user may not run Python here: {done.stderr}")
    assert done.stdout.strip() == str(place / "cmd_tune-12345")


STRANGER = 12345
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(folder of caches, folder of temporary files), each for this user alone."""
    caches, temporary = tmp_path / "caches", tmp_path / "temporary"
    caches.mkdir(mode=0o700)
    temporary.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return caches, temporary


def test_a_cache_is_made_for_this_user_alone(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(places[0] / "a" / "b"))
    before = os.umask(0)
    try:
        made = private_cache()
    finally:
        os.umask(before)
    assert made == places[0] / "a" / "b" / "cmd_tune"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (made, made.parent, made.parents[1])} == {0o700}


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
@pytest.mark.parametrize("where", [".", "cmd_tune"])
def test_a_cache_that_others_can_write_to_is_not_used(places: tuple[Path, Path], mode: int, where: str) -> None:
    (places[0] / "cmd_tune").mkdir()
    (places[0] / where).chmod(mode)
    assert private_cache() == places[1] / f"cmd_tune-{os.getuid()}" / ".cache" / "cmd_tune"
    (places[0] / where).chmod(0o755)
    assert private_cache() == places[0] / "cmd_tune"


def test_in_a_sticky_folder_what_is_ours_stays_ours(places: tuple[Path, Path]) -> None:
    """As in /tmp: others can add to it, and cannot rename what we own. The cache itself is no such folder."""
    places[0].chmod(0o1777)
    assert private_cache() == places[0] / "cmd_tune"
    (places[0] / "cmd_tune").chmod(0o1777)
    assert private_cache().is_relative_to(places[1])


@AS_ROOT
@pytest.mark.parametrize("where", [".", "cmd_tune"])
def test_a_cache_that_belongs_to_somebody_else_is_not_used(places: tuple[Path, Path], where: str) -> None:
    (places[0] / "cmd_tune").mkdir(mode=0o700)
    os.chown(places[0] / where, STRANGER, STRANGER)
    assert private_cache().is_relative_to(places[1])


def test_a_link_leads_to_where_it_is_checked(places: tuple[Path, Path], tmp_path: Path) -> None:
    """To a folder of ours it may; not to one that others can write to."""
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    (places[0] / "cmd_tune").symlink_to(target)
    assert private_cache() == target
    target.chmod(0o777)
    assert private_cache().is_relative_to(places[1])


def test_where_no_folder_is_private_there_is_none(places: tuple[Path, Path]) -> None:
    for place in places:
        place.chmod(0o777)
    with pytest.raises(PermissionError, match=f"other users can write to {places[0]}.* and to {places[1]}"):
        private_cache()


def test_a_file_of_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not is_ours_alone(path)
    path.write_text("")
    for mode, ours in {0o600: True, 0o755: True, 0o620: False, 0o602: False}.items():
        path.chmod(mode)
        assert is_ours_alone(path) == ours
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    assert not is_ours_alone(tmp_path / "link")
    assert not is_ours_alone(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert not is_ours_alone(tmp_path / "pipe")


@AS_ROOT
def test_a_file_of_somebody_else_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o600)
    os.chown(tmp_path / "file", STRANGER, STRANGER)
    assert not is_ours_alone(tmp_path / "file")


@pytest.mark.parametrize("named", ["{here}/none", "{here}/file", ""])
def test_a_temporary_folder_that_is_none_is_replaced(named: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    named = named.format(here=tmp_path)
    code = "import os; from cmd_tune.compute.home import ensure_temporary_folder as f; f(); print(os.environ['TMPDIR'])"
    environment = os.environ | {"TMPDIR": named, "TEMP": "", "TMP": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    folder = done.stdout.strip()
    assert Path(folder).is_dir()
    name = named or "an empty name"
    assert done.stderr == f"TMPDIR: {name} is no folder that can be written to; {folder} takes its place\n"


def test_where_there_is_no_temporary_folder_the_cure_is_named() -> None:
    code = "import tempfile; tempfile._candidate_tempdir_list = list; from cmd_tune.cli import main; main()"
    command = [sys.executable, "-c", code, "settings"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    said = "there is no folder for temporary files; name one that can be written to in TMPDIR"
    assert done.stderr == f"error: {said}\n"
