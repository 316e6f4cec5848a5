"""The keys of a space file that describes a comparison of cells, as a typed model."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, ValidationInfo, field_validator

from cmd_tune.mistakes import mistake
from cmd_tune.search.spaces.comparison import SEED, Cell, Claim, Comparison
from cmd_tune.search.spaces.comparison_file import ClaimSpec, read_cells, read_seeds
from cmd_tune.search.spaces.file_model import IfWritten, Text, read_list
from cmd_tune.search.spaces.forms import Metric, SpaceForm
from cmd_tune.search.spaces.reported import Origin
from cmd_tune.search.spaces.space import DEFAULT_TABLE_METRIC, Space, TrialSource


class ComparisonForm(SpaceForm):
    """A comparison of cells, each with every seed."""

    example: ClassVar[str] = "method, metric, cells, …"

    metric: Metric = Metric(name=DEFAULT_TABLE_METRIC)
    cells: tuple[Cell, ...]
    seeds: Annotated[tuple[int, ...], PlainValidator(read_seeds)] = (0,)
    claims: tuple[Claim, ...] = ()
    title: Text = ""
    reported_on: IfWritten[Origin] = None

    @classmethod
    def misplaced(cls, key: str, method: str) -> str:
        if key == "metrics":
            return "does not go with method cells, which selects nothing; write metric"
        return f"does not go with method {method}, whose cells all run to their end; remove it"

    @field_validator("settings")
    @classmethod
    def _without_seed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if SEED in settings:
            raise mistake("does not go with method cells, whose seeds replace it; write seeds: [0]", SEED)
        return settings

    @field_validator("cells", mode="plain")
    @classmethod
    def _cells(cls, value: Any, info: ValidationInfo) -> tuple[Cell, ...]:
        return read_cells(value, info.data.get("settings", {}))

    @field_validator("claims", mode="plain")
    @classmethod
    def _claims(cls, value: Any, info: ValidationInfo) -> tuple[Claim, ...]:
        def read(claim: Any) -> Claim | None:
            spec = ClaimSpec.model_validate(claim)
            return spec.claim(info.data["cells"]) if "cells" in info.data else None

        claims = read_list(value, f"claims such as {ClaimSpec.example}", read)
        return tuple(claim for claim in claims if claim)

    def space(self, path: Path, source: TrialSource) -> Space:
        """The space that the file describes."""
        comparison = Comparison(self.title, self.cells, self.seeds, self.claims, self.reported_on)
        return replace(self.common(path, source), parameters=comparison.parameters(), comparison=comparison)
