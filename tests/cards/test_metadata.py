"""What the Hub reads of a card: its own client reads the same, whatever untrusted text is in it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.records import data, make_base, make_data, make_metric, make_record
from zoo.cards.metadata import dump, front_matter, parse, split
from zoo.cards.render import render
from zoo.plugins import manager
from zoo.registry.schema import UNKNOWN

NASTY = [
    "a: b", "- a", "yes", "null", "1.0", "#a", "'", '"', "a\nb", "a\n---\nb: c", "---", "{a}", "[a", "&a",
    "*a", "!!python/object:os.system", "%a", "@a", "`a`", "|", "> a", "a\tb", "\u202e", "\x1b[31m", " a ",
    "\x85", "\u2028", "🙂",
]  # fmt: skip


def matter(text: str) -> dict[str, Any]:
    head, _ = split(text)
    assert head is not None
    return parse(head)


def test_the_front_matter_is_yaml_with_what_the_hub_asks_for() -> None:
    found = matter(render(make_record()))
    assert found.pop("model-index")
    assert found == {
        "base_model": "google-bert/bert-base-cased",
        "base_model_relation": "adapter",
        "base_model_revision": "0123456789",
        "base_model_sha256": make_record().base.weights,
        "datasets": ["stanfordnlp/imdb"],
        "language": "en",
        "library_name": "peft",
        "license": "apache-2.0",
        "metrics": ["accuracy", "f1", "matthews_correlation"],
        "pipeline_tag": "text-classification",
        "tags": ["adapter-zoo", "lora", "bert-imdb", "base_model:adapter:google-bert/bert-base-cased"],
    }


def test_the_hubs_own_client_finds_every_result_in_the_model_index() -> None:
    from huggingface_hub import ModelCardData

    record = make_record(data=make_data(config="plain_text", revision="4567"))
    found = ModelCardData(**matter(render(record)))
    assert found.model_name == record.name
    results = found.eval_results
    assert results is not None
    assert [(one.metric_name, one.metric_type) for one in results] == [
        ("accuracy", "accuracy"), ("f1", "f1"), ("mcc", "matthews_correlation"),
    ]  # fmt: skip
    accuracy = results[0]
    assert accuracy.metric_value == 0.88
    assert accuracy.verified is False
    assert accuracy.metric_args == {
        "n": 1000, "low": 0.83, "high": 0.93, "level": 0.95, "interval": "wilson", "seed": 42,
        "baselines": {"majority": 0.5, "untrained": 0.51},
    }  # fmt: skip
    assert (accuracy.task_type, accuracy.dataset_type) == ("text-classification", "stanfordnlp/imdb")
    assert (accuracy.dataset_config, accuracy.dataset_revision) == ("plain_text", "4567")
    assert accuracy.dataset_split == "train"
    assert accuracy.dataset_args == {
        "fingerprint": f"sha256:{data(record).fingerprint}", "rule": data(record).split
    }  # fmt: skip


def test_the_front_matter_comes_through_the_hubs_own_client_unchanged() -> None:
    from huggingface_hub import ModelCard

    text = render(make_record())
    assert matter(str(ModelCard(text))) == matter(text)


def test_a_whole_model_is_a_fine_tune_and_an_unknown_format_is_the_zoos() -> None:
    whole = front_matter(make_record(format="transformers"))
    assert (whole["library_name"], whole["base_model_relation"]) == ("transformers", "finetune")
    assert "base_model:finetune:google-bert/bert-base-cased" in whole["tags"]
    assert front_matter(make_record(format="zoo"))["library_name"] == "adapter-zoo"


@pytest.mark.parametrize("base_id", ["local:my-bert", "/home/anna/my-bert", "../my-bert", UNKNOWN, "my-bert"])
def test_a_path_or_a_folders_name_is_never_a_base_model(base_id: str) -> None:
    """The Hub refuses a card whose base_model is a path."""
    record = make_record(
        base=make_base(id=base_id, location="path:/home/anna/my-bert", licence=None),
        data=make_data(id="local:reviews.csv", location="path:/home/anna/reviews.csv"),
    )
    found = matter(render(record))
    assert not {"base_model", "base_model_relation", "datasets", "license", "language"} & set(found)
    assert not any("base_model" in tag or "/home" in tag for tag in found["tags"])
    result = found["model-index"][0]["results"][0]
    assert (result["dataset"]["type"], result["dataset"]["name"]) == ("custom", "reviews.csv")


def test_an_id_from_before_the_hub_had_owners_becomes_the_one_of_today() -> None:
    assert front_matter(make_record(base=make_base(id="bert-base-cased")))["base_model"] == (
        "google-bert/bert-base-cased"
    )


def test_the_licence_is_the_bases_or_the_one_that_is_asked_for() -> None:
    assert front_matter(make_record(), licence="mit")["license"] == "mit"
    several = make_record(base=make_base(licence="mit, apache-2.0"))
    assert front_matter(several)["license"] == ["mit", "apache-2.0"]


def test_the_language_is_said_only_of_the_tasks_own_data() -> None:
    task = manager.load_task("bert-imdb")
    assert front_matter(make_record(), task)["language"] == "en"
    assert "language" not in front_matter(make_record(data=make_data(id="anna/reviews")), task)


def test_metrics_that_the_hub_does_not_know_are_results_and_no_tags() -> None:
    found = front_matter(make_record(metrics=[make_metric("mean_recall")]))
    assert "metrics" not in found
    assert found["model-index"][0]["results"][0]["metrics"][0]["type"] == "mean_recall"


def test_an_adapter_that_nobody_measured_has_no_model_index() -> None:
    assert "model-index" not in front_matter(make_record(metrics=[], baselines={}, data=None, training=None))


def test_a_number_without_end_is_text() -> None:
    """The Hub turns the front matter into JSON."""
    found = front_matter(make_record(metrics=[make_metric("perplexity", float("inf"), low=1.0)]))
    assert found["model-index"][0]["results"][0]["metrics"][0]["value"] == "inf"


@pytest.mark.parametrize("nasty", NASTY)
def test_no_untrusted_text_breaks_the_front_matter(nasty: str) -> None:
    record = make_record(
        name=nasty,
        labels=[nasty, f"{nasty}2"],
        metrics=[make_metric(nasty)],
        base=make_base(id=nasty, licence=nasty, revision=nasty, weights={nasty: nasty}),
        data=make_data(id=nasty, split=nasty),
        spec=msgspec.structs.replace(make_record().spec, method=nasty, task=nasty),
    )
    wanted = front_matter(record)
    assert matter(f"---\n{dump(wanted)}---\n\n# Title\n") == wanted
    assert wanted["tags"] == ["adapter-zoo", nasty, nasty]
    assert "base_model" not in wanted
    assert wanted["model-index"][0]["results"][0]["metrics"][0]["name"] == nasty


def test_a_key_that_is_there_twice_is_refused_as_the_hub_does() -> None:
    with pytest.raises(ValueError, match="'license' is there twice"):
        parse("license: mit\nlicense: other\n")


@pytest.mark.parametrize(
    "text", ["a: [", "- a", "text", "", "1: a", "!!python/object:os.system {}", "a: 2024-99-99", "[" * 3000]
)
def test_what_is_no_mapping_of_names_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not YAML|no mapping|day is out of range|month must be"):
        parse(text)


def test_every_shipped_task_has_a_pipeline_tag() -> None:
    tags = {name: manager.load_task(name).pipeline_tag for name in manager.find("task")}
    assert tags
    assert all(tags.values()), tags
