"""The charts of a search, as the UI reads them."""

from cmd_tune.tracking import Page
from cmd_tune.tracking.mlflow.charts import chart_view


def test_all_runs_are_drawn_over_epochs_and_over_each_parameter():
    view = chart_view(Page(("val/knn/fused", "cost/seconds"), ("topk", "seed"), order="loss/total"))
    charts = view["compareRunCharts"]
    assert [chart["type"] for chart in charts] == ["LINE", "BAR", "PARALLEL", "SCATTER", "SCATTER"]
    curves, bars, parallel, *points = charts
    assert (curves["selectedMetricKeys"], bars["metricKey"]) == (["loss/total"], "loss/total")  # which orders them
    assert (parallel["selectedParams"], parallel["selectedMetrics"]) == (["topk", "seed"], ["loss/total"])
    assert parallel["showAllRuns"]
    assert [chart["xaxis"] for chart in points] == [{"key": name, "type": "PARAM"} for name in ("topk", "seed")]
    (section,) = view["compareRunSections"]
    assert {chart["metricSectionId"] for chart in charts} == {section["uuid"]}
    assert len({chart["uuid"] for chart in charts}) == 5
    assert view["runsHiddenMode"] == "SHOW_ALL"  # the UI has ten


def test_of_a_run_without_parameters_there_are_its_curves_and_of_one_without_metrics_the_uis_own():
    view = chart_view(Page(("val/knn/fused",)))
    assert [chart["type"] for chart in view["compareRunCharts"]] == ["LINE", "BAR"]
    assert chart_view(Page(())) == {}
