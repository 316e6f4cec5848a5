"""What the tests of every floor share: golden files, the real Northwestern-UCLA clips, small made-up data sets."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import numpy as np
import pytest

# As the commands have it, before PyTorch is loaded: threads that spin take the CPUs from whoever they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.store import Store, open_store, write_store
from cmd_tune.settings import Settings, make_settings

torch.set_num_threads(1)
# Read where kernels and Triton's own functions are defined, which PyTorch imports at a moment of its choice.
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

TESTS = Path(__file__).parent
MEMORY = Path("/dev/shm")  # noqa: S108


def memory_has_room() -> bool:
    """Whether there is a file system in memory that the tests' files can lie in: libraries, too, which are run."""
    if not os.access(MEMORY, os.W_OK):
        return False
    there = os.statvfs(MEMORY)
    return there.f_bavail * there.f_frsize >= 4 * 2**30 and not there.f_flag & os.ST_NOEXEC


# The databases of studies and of MLflow wait for the disk at every change, which is most of what they take.
if "TMPDIR" not in os.environ and memory_has_room():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        metavar="DIR",
        default=str(TESTS / "golden"),
        help="folder of the reference files (default: tests/golden); give it as --golden=DIR or after the tests' paths",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist keeps the order of the files, which is the one below


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first: at the end no process waits for another's last file."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of files with the authors' numbers."""
    return Path(request.config.getoption("--golden")).resolve()


@pytest.fixture(scope="session")
def nw_ucla_zip() -> Path:
    """Northwestern-UCLA's clips, which may not be handed on with the tests."""
    beside = TESTS.parents[1] / "shared" / "data" / "nw-ucla-all_sqe.zip"
    path = Path(os.environ.get("CMD_TUNE_NW_UCLA", beside))
    if not path.is_file():
        pytest.skip(f"no Northwestern-UCLA zip at {path}; CMD_TUNE_NW_UCLA says where it is")
    return path


@pytest.fixture(scope="session")
def nw_ucla_store(nw_ucla_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The real clips, normalised as the reference is."""
    out = tmp_path_factory.mktemp("nw-ucla") / "nw-ucla.arrow"
    return ingest("nw-ucla", nw_ucla_zip, out, normalization="2s-agcn").store


def write_tiny_store(
    path: Path,
    *,
    layout: str = "kinect-20",
    bodies: int = 1,
    subjects: int = 8,
    classes: int = 3,
    cameras: tuple[int, ...] = (1, 2, 3),
    frames: tuple[int, int] = (6, 24),
    seed: int = 0,
) -> Store:
    """A small data set: one clip a subject, class and camera; each class swings its joints its own way.

    If the layout is in 2-D, what the camera sees from afar.
    """
    random = np.random.default_rng(seed)
    joints = len(LAYOUTS[layout].joints)
    rest_VC = random.normal(size=(joints, 3))
    swing_LVC = random.normal(size=(classes, joints, 3))
    clips = []
    for subject in range(1, subjects + 1):
        size, pace = random.uniform(0.8, 1.2), random.uniform(0.8, 1.2)
        for label in range(classes):
            for camera in cameras:
                length = int(random.integers(frames[0], frames[1] + 1))
                phase_T = pace * (label + 1) * np.linspace(0, 2 * np.pi, length)
                x_TVC = size * (rest_VC + 0.5 * np.sin(phase_T)[:, None, None] * swing_LVC[label])
                sine, cosine = np.sin(0.4 * camera), np.cos(0.4 * camera)
                x_TVC = x_TVC @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]).T
                x_TVC += 0.02 * random.normal(size=x_TVC.shape)
                x_TVC = x_TVC[:, :, : LAYOUTS[layout].coordinates]
                x_TVCP = np.stack([x_TVC + 0.5 * body for body in range(bodies)], axis=3).astype(np.float32)
                name = f"s{subject:02}_a{label}_c{camera}"
                clips.append(Clip(name, x_TVCP, label=label, subject=subject, camera=camera))
    family = "2s-agcn" if LAYOUTS[layout].coordinates == 3 else "torso"
    write_store(path, clips, dataset="synthetic", layout=LAYOUTS[layout], normalization=family)
    return open_store(path)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Store]:
    """Writes a small data set of the size and shape asked for."""
    return lambda **changes: write_tiny_store(tmp_path / "tiny.arrow", **changes)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One small data set for all that only read it: 72 clips, of which 36 are pretrained on under xview."""
    return write_tiny_store(tmp_path_factory.mktemp("tiny") / "tiny.arrow")


@pytest.fixture(scope="session")
def flat_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same of joints in 2-D, two bodies of 17."""
    return write_tiny_store(tmp_path_factory.mktemp("flat") / "flat.arrow", layout="coco-17", bodies=2)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Settings]:
    """Settings of runs that take a second; the bank holds no whole number of batches, so it wraps within one."""

    def make(**changes: object) -> Settings:
        small = {
            "hidden_size": 8,
            "embedding_size": 8,
            "layers": 2,
            "frames": 8,
            "queue_size": 20,
            "topk": 6,
            "key_momentum": 0.99,
            "crop_min_frames": 4,
            "crop_min_share": 0.3,
            "corrupted_share": 0.6,
            "learning_rate": 0.0015,
            "epochs": 3,
            "batch_size": 8,
            "evaluate_every": 1,
            "checkpoint_every": 1,
        }
        return make_settings("quick", ("test", {**small, **changes}))

    return make


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server in this process, which has the bucket `bucket`."""
    from moto.server import ThreadedMotoServer
    from pyarrow.fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"access_key": "me", "secret_key": "mine", "region": "us-east-1", "scheme": "http"}
    S3FileSystem(endpoint_override=f"{host}:{port}", allow_bucket_creation=True, **keys).create_dir("bucket")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URI of its own for each test, credentials in the environment, and an empty cache, as on a new machine."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine"))
    return f"s3://bucket/{token_hex(4)}"
