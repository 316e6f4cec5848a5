"""Hyperparameter tuning for CMD, cross-modal mutual distillation of skeleton encoders.

`run_search` runs a search, `open_search` opens one that was kept. Both are loaded when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmd_tune.search.from_python import open_search, run_search
    from cmd_tune.search.result import SearchResult

__version__ = "0.1.0"
__all__ = ["SearchResult", "__version__", "open_search", "run_search"]

_PLACES = {"open_search": "from_python", "run_search": "from_python", "SearchResult": "result"}


def __getattr__(name: str) -> Any:
    """PyTorch and Optuna take seconds to load, which whoever wants the version alone does not wait for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'cmd_tune' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"cmd_tune.search.{_PLACES[name]}"), name)
