"""Compiling on the machine at hand: kept, shared, and done without where it cannot be done."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cmd_tune.compute import native
from cmd_tune.compute.native import _FLAGS, _PACKAGE, SOURCES, _compiler
from cmd_tune.compute.slower import Slower
from cmd_tune.model.encoders.gru_layer import GRUPairs

pytestmark = pytest.mark.long

SIZES = [(1, 3, 2, 4), (1, 2, 15, 4), (1, 2, 15, 5), (1, 2, 15), (1, 2, 15)]
CODE = f"""
from cmd_tune.compute import native
import torch
from cmd_tune.model.encoders.gru_layer import GRUPairs
x = [torch.ones(s) / 2 for s in {SIZES}]
print(native.library() is not None, GRUPairs.apply(*x, True).sum().item())
"""


def run(said: str = "", **environment: str) -> tuple[str, float]:
    """Whether there is a library, and what comes out; on stderr there is one warning with these words, or nothing."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.count("Slower: ") == bool(said), done.stderr
    assert said in done.stderr
    compiled, value = done.stdout.split()
    return compiled, float(value)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """(a compiler, a folder with the cache of its library, what comes out with it).

    The compiler does its work for the first library, and gives its results out again for the others.
    """
    folder = tmp_path_factory.mktemp("compiled")
    kept, compiler = folder / "kept.so", folder / "compiler"
    compiler.write_text(
        "#!/bin/sh\nfor out; do :; done\n"
        f'[ -f "{kept}" ] || {{ c++ "$@" && cp "$out" "{kept}"; }} || exit 1\ncp "{kept}" "$out"\n'
    )
    compiler.chmod(0o700)
    compiled, value = run(CXX=str(compiler), XDG_CACHE_HOME=str(folder))
    assert compiled == "True"
    assert len(list((folder / "cmd_tune").iterdir())) == 1
    return compiler, folder, value


@pytest.fixture
def cache(compiled: tuple[Path, Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cache, for processes that have that compiler."""
    monkeypatch.setenv("CXX", str(compiled[0]))
    shutil.copytree(compiled[1] / "cmd_tune", tmp_path / "caches" / "cmd_tune")
    return tmp_path / "caches"


def test_it_is_compiled_once_and_kept(compiled: tuple[Path, Path, float], cache: Path) -> None:
    (library,) = (cache / "cmd_tune").iterdir()
    before = library.stat()
    assert run(XDG_CACHE_HOME=str(cache)) == ("True", compiled[2])
    assert list((cache / "cmd_tune").iterdir()) == [library]
    assert (library.stat().st_mtime_ns, library.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_without_a_compiler_or_a_place_pytorch_does_it(
    compiled: tuple[Path, Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which warns as often."""
    x = [torch.ones(s) / 2 for s in SIZES]
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    (tmp_path / "file").write_text("")
    for said, environment in {
        "there is no compiler 'no-such-compiler'": {"CXX": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path / "a")},
        "broken-compiler ends with exit code 1": {"CXX": f"{broken} -O3", "XDG_CACHE_HOME": str(tmp_path / "b")},
        "No closing quotation": {"CXX": "c++ '", "XDG_CACHE_HOME": str(tmp_path / "c")},
        f"{tmp_path / 'file'}": {"XDG_CACHE_HOME": str(tmp_path / "file")},
    }.items():
        with monkeypatch.context() as changed:
            for name, value in environment.items():
                changed.setenv(name, value)
            native._library.cache_clear()
            with pytest.warns(Slower) as warned:
                value = GRUPairs.apply(*x, True).sum().item()
            assert native.library() is None
        native._library.cache_clear()
        assert [said in str(warning.message) for warning in warned] == [True]
        assert abs(value - compiled[2]) < 1e-5
    assert not list((tmp_path / "b" / "cmd_tune").iterdir())


def test_a_spoilt_file_in_the_cache_is_done_without(cache: Path) -> None:
    next((cache / "cmd_tune").iterdir()).write_bytes(b"no library")
    assert run("since the C++ is not compiled", XDG_CACHE_HOME=str(cache))[0] == "False"


@pytest.fixture
def planted(compiled: tuple[Path, Path, float], cache: Path, tmp_path: Path) -> tuple[Path, Path, float]:
    """(a library in the cache that writes a file when it is loaded, that file, what comes out without it)."""
    written = tmp_path / "written"
    library = next((cache / "cmd_tune").iterdir())
    assert library.stat().st_mode & 0o077 == 0
    source = tmp_path / "planted.c"
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) void run(void) "
        f'{{ FILE *file = fopen("{written}", "w"); if (file) fclose(file); }}\n'
    )
    library.unlink()
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)  # noqa: S607
    library.chmod(0o700)
    return library, written, compiled[2]


def plant_writable(library: Path) -> None:
    library.chmod(0o722)


def plant_link(library: Path) -> None:
    library.rename(library.with_suffix(".other"))
    library.symlink_to(library.with_suffix(".other"))


def plant_in_an_open_folder(library: Path) -> None:
    library.parent.chmod(0o777)


def plant_below_an_open_folder(library: Path) -> None:
    library.parents[1].chmod(0o777)


def plant_as_somebody_else(library: Path) -> None:
    os.chown(library, 12345, 12345)


def plant_in_somebody_elses_folder(library: Path) -> None:
    os.chown(library.parent, 12345, 12345)


def plant_as_ours(library: Path) -> None: ...


PLANTS = (
    plant_writable,
    plant_link,
    plant_in_an_open_folder,
    plant_below_an_open_folder,
    plant_as_somebody_else,
    plant_in_somebody_elses_folder,
)


SLOW = (plant_link, plant_below_an_open_folder, plant_in_somebody_elses_folder)  # each is like one before it


@pytest.mark.parametrize(
    "plant",
    [pytest.param(plant, marks=[pytest.mark.slow] * (plant in SLOW)) for plant in (*PLANTS, plant_as_ours)],
    ids=lambda plant: plant.__name__,
)
def test_a_library_that_another_user_could_have_written_is_not_loaded(
    plant: Callable[[Path], None], planted: tuple[Path, Path, float], tmp_path: Path
) -> None:
    """It is made anew. The last one shows that the planted library would have run."""
    library, written, value = planted
    try:
        plant(library)
    except PermissionError:
        pytest.skip("only root can give a file to somebody else")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    temporary.chmod(0o1777)
    done = run(XDG_CACHE_HOME=str(library.parents[1]), TMPDIR=str(temporary))
    assert written.exists() == (plant is plant_as_ours)
    if plant is not plant_as_ours:
        assert done == ("True", value)


def test_without_a_private_folder_pytorch_does_it(tmp_path: Path) -> None:
    for name in ("cache", "temporary"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    done = run("other users can write to", XDG_CACHE_HOME=str(tmp_path / "cache"), TMPDIR=str(tmp_path / "temporary"))
    assert done[0] == "False"


def test_the_compiler_may_have_options_and_a_space_in_its_path(
    compiled: tuple[Path, Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As build systems write CXX; an empty one is none."""
    found = shutil.which("c++")
    assert found is not None
    spaced = tmp_path / "my tools"
    spaced.mkdir()
    (spaced / "c++").symlink_to(compiled[0])
    path = str(spaced / "c++")
    for named, command in {
        "": [found],
        " ": [found],
        "c++ -std=c++17": [found, "-std=c++17"],
        f"'{path}' -g0": [path, "-g0"],
        path: [path],
    }.items():
        monkeypatch.setenv("CXX", named)
        assert _compiler() == command
    assert run(CXX=f"'{path}' -g0", XDG_CACHE_HOME=str(tmp_path / "cache"))[0] == "True"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks for x86's instructions")
@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4"])  # AVX2, AVX-512
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_is_to_be_vectorised_is(source: Path, level: str, tmp_path: Path) -> None:
    """GCC says which loops it has vectorised: all that the source marks, also where they hold a choice."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    flags = [flag if flag != "-march=native" else f"-march={level}" for flag in _FLAGS]
    command = [compiler, *flags, f"-I{_PACKAGE}", "-fopt-info-vec-optimized", source, "-o", tmp_path / "library.so"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    lines = source.read_text().splitlines()
    marked = [number for number, line in enumerate(lines, 2) if line.startswith("#pragma omp simd")]
    vectorised = {int(number) for number in re.findall(r":(\d+):\d+: optimized: loop vectorized", said)}
    # A loop is named by a line of its own, or of the first in it.
    assert [number for number in marked if not vectorised & {*range(number, number + 5)}] == []
