"""Texts of numbers that are separated by blanks."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from cmd_tune.errors import DataError

_LINES = bytes.maketrans(b" \t\r\v\f", b"\n" * 5)  # to a number a line, which Arrow reads three times as fast as NumPy


def read_numbers(where: str, text: bytes) -> NDArray[np.float64]:
    """All numbers of a text, in order. where: the name of the file in messages. Raises DataError."""
    if not text.strip():
        raise DataError(f"{where}: an empty file")
    try:
        one_column = csv.read_csv(
            pa.BufferReader(text.translate(_LINES)),
            read_options=csv.ReadOptions(column_names=["number"], use_threads=False, block_size=len(text) + 1),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types={"number": pa.float64()}),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: not a text of numbers") from error
    return one_column["number"].to_numpy()
