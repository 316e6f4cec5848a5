"""Tests mirror the package: a test file for each file with behaviour, in the same folder and of the same name."""

import ast
import fnmatch
from pathlib import Path

import pytest

from tests.test_imports import FILES, PACKAGE, imports

TESTS = Path(__file__).parent
# Files without a test file of their own: what they hold, or where it is tested.
ELSEWHERE = {
    "commands/settings.py": "test_cli.py",
    "data/clip.py": "data alone",
    "data/readers/arrays.py": "data/readers/test_npy_triple.py",
    "data/readers/indexed_files.py": "data/readers/test_bvh.py, data/readers/test_mediapipe.py",
    "data/readers/json_texts.py": "data/readers/test_mediapipe.py",
    "data/synthetic_actions.py": "data/test_synthetic.py",
    "data/views/crop_shear_kernels.py": "data/views/test_crop_shear.py",
    "model/encoders/gru_frame_kernels.py": "model/encoders/test_gru_layer.py",
    "model/encoders/gru_gates.py": "model/encoders/test_gru_layer.py",
    "model/encoders/input_norm_kernels.py": "model/encoders/test_input_norm.py",
    "model/objectives/one_pass_kernels.py": "model/objectives/test_one_pass.py",
    "model/fused_pretrainer.py": "train/test_fused.py",
    "model/objectives/one_pass_launch.py": "model/objectives/test_one_pass.py",
    "search/execution/ray_client.py": "search/execution/test_contract.py, end_to_end/test_hosts.py",
    "search/execution/ray_desk.py": "search/execution/test_contract.py, end_to_end/test_hosts.py",
    "search/execution/ray_hosts.py": "search/execution/test_contract.py, end_to_end/test_hosts.py",
    "search/repeats.py": "search/test_refits.py, search/test_confirmations.py",
    "search/listeners.py": "search/test_tracker_listener.py, search/test_finalists.py",
    "search/report/base.py": "types alone",
    "search/report/sections/confirmed.py": "search/report/test_confirmation.py",
    "search/spaces/comparison_form.py": "search/spaces/test_comparison_file.py",
    "search/spaces/forms.py": "search/spaces/test_search_form.py, search/spaces/test_comparison_file.py",
    "search/study/earlier_trials.py": "search/test_warm_start.py",
    "search/study/clock.py": "search/study/test_faults.py",
    "search/study/known_trials.py": "search/study/test_study.py",
    "search/study/study_file.py": "search/study/test_faults.py",
    "search/study/suggestions.py": "search/study/test_faults.py, search/study/test_study.py",
    "train/slot_optimizer.py": "train/test_fused.py",
    "train/weight_pass_kernels.py": "train/test_weight_pass.py",
    "__main__.py": "test_interrupts.py",
}
# Test files of a subject that several files share, and folders whose tests are of the whole.
SUBJECTS = (
    "test_contract.py", "test_fuzz.py", "test_golden_*.py", "test_kept_*.py", "test_*gpu.py", "test_kernels_compile.py",
    "test_one_score.py", "test_resume.py", "test_shipped_spaces.py", "test_faults.py", "test_places.py",
    "test_joints_in_2d.py", "test_on_postgresql.py", "test_cluster_files.py", "test_architecture.py", "test_docs.py",
    "test_extending.py", "test_imports.py", "test_mirror.py", "test_notebook.py", "test_questions.py",
)  # fmt: skip
OF_THE_WHOLE = ("benchmarks", "end_to_end", "second_device")


def path_of_test(file: str) -> Path:
    return TESTS / Path(file).with_name(f"test_{Path(file).name}")


WITH_BEHAVIOUR = [
    file
    for file in FILES
    if not file.endswith("__init__.py")
    and any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse((PACKAGE / file).read_text()).body)
]


def has_contract(file: str) -> bool:
    """Whether test_contract.py runs it: a variant, or the base of all, which the __init__ of its folder imports."""
    module = "cmd_tune." + file.removesuffix(".py").replace("/", ".")
    registered = {name.rpartition(".")[0] for name in imports((PACKAGE / file).parent / "__init__.py")}
    return module in registered and (path_of_test(file).parent / "test_contract.py").exists()


def test_each_file_has_a_test_file_or_a_contract_or_is_tested_elsewhere() -> None:
    tested = {file for file in WITH_BEHAVIOUR if path_of_test(file).exists() or has_contract(file)}
    assert [file for file in WITH_BEHAVIOUR if file not in tested | ELSEWHERE.keys()] == []
    assert [file for file in ELSEWHERE if file in tested or file not in WITH_BEHAVIOUR] == []  # no longer exceptions


@pytest.mark.parametrize("file", [file for file, where in ELSEWHERE.items() if not where.endswith(" alone")])
def test_the_place_of_an_exceptions_tests_is_there(file: str) -> None:
    assert all((TESTS / path).exists() for path in ELSEWHERE[file].split(", "))


def test_each_test_file_has_the_name_of_a_file_or_of_a_subject() -> None:
    files = [path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")]
    mirrored = [file for file in files if file.parts[0] not in OF_THE_WHOLE]
    named = {file for file in mirrored if (PACKAGE / file).with_name(file.name.removeprefix("test_")).exists()}
    subjects = {file for file in mirrored for subject in SUBJECTS if fnmatch.fnmatch(file.name, subject)}
    assert [file.as_posix() for file in mirrored if file not in named | subjects] == []
