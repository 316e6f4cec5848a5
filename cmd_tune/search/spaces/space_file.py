"""Space files: found by name, and read into a space. Written as W&B sweeps are, in YAML."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import cmd_tune
from cmd_tune.errors import did_you_mean, usage_error
from cmd_tune.files import home_path
from cmd_tune.mistakes import Mistakes, refusal
from cmd_tune.search.spaces.comparison_form import ComparisonForm
from cmd_tune.search.spaces.file_model import FileModel, check_mapping
from cmd_tune.search.spaces.forms import MethodKind, SpaceForm, Words
from cmd_tune.search.spaces.search_form import SearchForm
from cmd_tune.search.spaces.space import DEFAULT_METHOD, Space, TrialSource
from cmd_tune.search.spaces.sweep_file import read_sweep
from cmd_tune.settings import PRESETS, Settings
from cmd_tune.yaml_files import read_yaml

_CELLS = "cells"  # the method of a file that lists cells


def find_space(text: str) -> Path:
    """The file that `--space` means: a path, or a name in search_spaces/ with or without .yaml."""
    path = home_path(text)
    if path.is_file():
        return path
    package = Path(cmd_tune.__file__).parent
    folders = [package.parent / "search_spaces", package / "search_spaces"]  # a repository's; a wheel's
    for folder in folders if Path(text).name == text else ():
        for path in (folder / text, folder / f"{text}.yaml"):
            if path.is_file():
                return path
    names = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    raise usage_error(
        f"--space {text}", f"no such file, nor a search space of that name; {did_you_mean(Path(text).stem, names)}"
    )


def load_space(path: Path, methods: Mapping[str, MethodKind], early_stopping: Mapping[str, type[FileModel]]) -> Space:
    """Read a space file.

    methods, early_stopping: the words that `method` and the `type` of `early_terminate` may be; see study/methods and
    study/early_stopping. Raises UsageError with a line per mistake: file, key path, what is wrong, what to do.
    """
    content = read_yaml(path)
    if content is None:
        raise usage_error(str(path), "is empty; write parameters, as in search_spaces/temps.yaml")
    try:
        check_mapping(content, SpaceForm.example)
        with Mistakes() as mistakes:
            sweep = read_sweep(content, early_stopping, mistakes)
            with mistakes.at():
                file = _read(sweep.content, Words(methods, early_stopping))
    except ValidationError as error:
        raise refusal(str(path), error) from None
    except ValueError as error:
        raise usage_error(str(path), str(error)) from None
    space = replace(file.space(path, methods[file.method].trials), texts=sweep.texts, remarks=sweep.remarks)
    stops = methods[file.method].stops_early and not space.more_metrics  # Optuna stops none that several metrics judge
    if stops and "early_terminate" not in file.model_fields_set:
        space = replace(space, default_stopping=True)
    # Without a preset, what a trial starts from is known only to the command line.
    preset = {**Settings().model_dump(), **PRESETS[space.preset]} if space.preset else {}
    space.check({**preset, **space.settings})
    space.check_possible({})  # whatever the settings will be
    return space


def _read(content: dict[str, Any], words: Words) -> SearchForm | ComparisonForm:
    """Read the form that the file's method has; of an unknown method, the form that its keys look like."""
    methods, method = words.methods, content.get("method")
    if "method" not in content:
        method = _CELLS if "cells" in content else DEFAULT_METHOD
        content = {"method": method, **content}
    if isinstance(method, str) and method in methods:
        compares = methods[method].trials is TrialSource.CELLS
    else:
        compares = "cells" in content
        keys = (SearchForm if compares else ComparisonForm).model_fields.keys() - SpaceForm.model_fields.keys()
        content = {key: value for key, value in content.items() if key not in keys}
    return (ComparisonForm if compares else SearchForm).model_validate(content, context=words)
