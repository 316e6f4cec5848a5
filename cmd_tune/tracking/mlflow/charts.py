"""The charts of a search in the MLflow UI, as its state of a view has them: first what a person asks of many trials."""

from typing import Any

from cmd_tune.tracking.base import Page

_SECTION = "search"  # identity of the section, and what those of its charts begin with
_PARAMS = 4  # scatter plots, and axes of the parallel coordinates beside the metric


def chart_view(page: Page) -> dict[str, Any]:
    """The keys of a view that are about its charts.

    The metric that runs are chosen by: along epochs, of trials and baselines as bars, over the parameters as parallel
    coordinates, and over each of them. All runs are shown, not only the first ten. The UI itself adds a chart for each
    other metric, below.
    """
    metric = page.order or next(iter(page.metrics), "")
    if not metric:
        return {}
    params = page.params[:_PARAMS]
    y = {"key": metric, "type": "METRIC"}
    charts = [
        _chart("LINE", "curves", metricKey=metric, selectedMetricKeys=[metric]),
        _chart("BAR", "bars", metricKey=metric, dataAccessKey=metric),
    ]
    if params:
        several = {"selectedParams": list(params), "selectedMetrics": [metric], "showAllRuns": True}
        charts.append(_chart("PARALLEL", "parallel", **several))
    for name in params:
        charts.append(_chart("SCATTER", name, xaxis={"key": name, "type": "PARAM"}, yaxis=y))
    section = {"uuid": _SECTION, "name": "What the search found", "display": True, "isReordered": False}
    return {
        "compareRunCharts": charts,
        "compareRunSections": [{**section, "deleted": False, "isGenerated": False}],
        "isAccordionReordered": True,  # else sections are sorted by name
        "runsHiddenMode": "SHOW_ALL",
    }


def _chart(kind: str, word: str, **content: Any) -> dict[str, Any]:
    common = {"type": kind, "uuid": f"{_SECTION}-{word}", "metricSectionId": _SECTION}
    settings = _DEFAULTS.get(kind, {})
    return {**common, "deleted": False, "isGenerated": False, "runsCountToCompare": 100, **settings, **content}


_DEFAULTS: dict[str, dict[str, Any]] = {
    "LINE": {
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "selectedXAxisMetricKey": "",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalLineSmoothing": False,
        "useGlobalXaxisKey": False,
    }
}
