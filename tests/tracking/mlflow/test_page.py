"""The view of a search in the MLflow UI, as the UI reads it."""

import json

from cmd_tune.tracking import Page, RunSnapshot
from cmd_tune.tracking.mlflow.page import links, note_tag, page_address, page_tag


def test_a_search_is_sorted_by_its_metric_with_its_trials_unfolded():
    page = Page(("val/knn/fused", "cost/seconds"), ("topk",), ("cmd_tune.state",), "val/knn/fused", ascending=False)
    key, text = page_tag(page, "temps-1", "abc")
    view = json.loads(text)
    assert view["searchFilter"] == "tags.`cmd_tune.id` = 'temps-1'"
    named = ["metrics.`val/knn/fused`", "metrics.`cost/seconds`", "params.`topk`", "tags.`cmd_tune.state`"]
    columns = [*named, "attributes.`Dataset`"]
    assert view["selectedColumns"] == columns
    assert view["columnOrder"] == ["attributes.`Run Name`", "runDateAndNestInfo", *columns]
    assert view["columnWidths"]["metrics.`val/knn/fused`"] == 7 * 23 - 30
    assert view["columnWidths"]["params.`topk`"] == 100
    assert view["columnWidths"]["tags.`cmd_tune.state`"] == 250  # for "stopped early after epoch 8 of 40"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/knn/fused`", False)
    assert view["runsExpanded"] == {"abc": True}
    assert key.startswith("mlflow.sharedViewState.")


def test_without_a_metric_the_order_is_the_uis_own():
    assert "orderByKey" not in json.loads(page_tag(Page(("val/knn/fused",)), "it", "abc")[1])


def test_the_address_names_the_view_of_its_own_search():
    key, _ = page_tag(Page(()), "temps-1", "abc")
    address = page_address("http://host:5000/", "7", "temps-1")
    assert address == (
        "http://host:5000/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey="
        + key.removeprefix("mlflow.sharedViewState.")
    )
    assert page_address("http://host:5000", "7", "temps-2") != address


def test_a_server_is_opened_by_its_address_and_a_database_by_a_command_first():
    server, database = "http://host:5000", "sqlite:////runs/mlflow.db"
    assert links(server, "", "it") == [server]
    assert links(server, "7", "it") == [page_address(server, "7", "it")]
    (command,) = links(database, "", "it")
    assert command.endswith(f" -m mlflow ui --backend-store-uri {database} --host 127.0.0.1 --port 5000")
    assert links(database, "7", "it") == [command, page_address("http://127.0.0.1:5000", "7", "it")]


def test_an_image_of_a_note_is_asked_of_the_server_that_shows_it():
    note = "Best: 66.2.\n\n![best so far](artifact:best so far.png) and [all](https://host/a)"
    snapshot = RunSnapshot(key=None, name="it", params={}, documents={}, note=note)
    assert note_tag(snapshot, "abc") == {
        "mlflow.note.content": "Best: 66.2.\n\n![best so far](get-artifact?run_uuid=abc&path=best%20so%20far.png) "
        "and [all](https://host/a)"
    }
    assert note_tag(RunSnapshot(key=None, name="it", params={}, documents={}), "abc") == {}
