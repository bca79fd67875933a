"""Pictures and captions from file to ranking (zoo/pictures)."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SHARED, Result
from zoo.data.files import Example
from zoo.errors import DataError, IncompatibleError, NotFoundError
from zoo.plugins.manager import load_method, load_task
from zoo.plugins.source import resolve
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry
from zoo.runtime.console import RecordingReport, Report
from zoo.tasks.image_text.images import made
from zoo.testing import write_pictures
from zoo.training import pipeline

Zoo = Callable[..., Result]


def write_folder(
    folder: Path, rows: Sequence[tuple[str, str]], pictures: int = 12, header: str = "file_name,text"
) -> Path:
    """Pictures 0.png, 1.png, ... that all differ, and `rows` as metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(pictures):
        (folder / f"{number}.png").write_bytes(made(number))
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return folder


def numbered(count: int = 12) -> list[tuple[str, str]]:
    return [(f"{number}.png", f"picture number {number}") for number in range(count)]


def read(path: Path, report: Report | None = None, **columns: str) -> dict[str, list[Example]]:
    task = load_task("clip-retrieval")
    data = resolve(str(path), (), "data", Report())
    return task.examples(task.frames(data), columns, str(path), report or Report())[0]


@pytest.fixture(scope="session")
def tiny_clip(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["clip"]


@pytest.fixture
def train(zoo: Zoo, tiny_clip: Path, pictures_folder: Path) -> Callable[..., Result]:
    def run(method: str = "lora", *args: object) -> Result:
        asked = ("--base", tiny_clip, "--data", pictures_folder, "--epochs", 1, "--precision", "fp32")
        return zoo("train", method, "clip-retrieval", *asked, *args)

    return run


@pytest.fixture(scope="module")
def shared_registry(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """`lora-clip-retrieval` and `full-clip-retrieval`, trained on the kit's pictures."""
    folder = tmp_path_factory.mktemp("clip")
    data = write_pictures(folder / "pictures")
    registry = Registry(folder / "registry.json")
    for method in ("lora", "full"):
        spec = AdapterSpec(
            method=method,
            task="clip-retrieval",
            base=str(tiny_models["clip"]),
            data=str(data),
            epochs=1.0,
            precision="fp32",
            batch_tokens=8,
            params={"r": "4"} if method == "lora" else {},
        )
        pipeline.train(spec, registry)
    return registry


@pytest.fixture
def trained(shared_registry: Registry, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The shared registry, as the one that `zoo` uses."""
    monkeypatch.setenv("ZOO_REGISTRY", str(shared_registry.path))
    return shared_registry


# what is read


def test_all_captions_of_a_picture_are_on_one_side_whatever_file_holds_it(tmp_path: Path) -> None:
    from zoo.data.files import divide

    folder = write_folder(tmp_path / "data", [*numbered(), *((n, f"again {t}") for n, t in numbered())])
    shutil.copy(folder / "3.png", folder / "copy.png")
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("copy.png,a copy of number 3\n")
    splits = read(folder)
    assert len(splits["train"]) == 12
    third = splits["train"][3]
    assert third["texts"] == ["picture number 3", "again picture number 3", "a copy of number 3"]
    task = load_task("clip-retrieval")
    division = divide(splits, task.key, AdapterSpec(method="lora", task=task.name))
    apart = {one["digest"] for one in division.held_out}
    assert len(division.held_out) == 2
    assert not apart & {one["digest"] for one in division.train}


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.parquet"])
def test_metadata_may_be_jsonl_or_parquet(tmp_path: Path, name: str) -> None:
    import pandas as pd

    folder = write_folder(tmp_path / "data", numbered())
    frame = pd.read_csv(folder / "metadata.csv")
    (folder / "metadata.csv").unlink()
    if name.endswith("jsonl"):
        frame.to_json(folder / name, orient="records", lines=True)
    else:
        frame.to_parquet(folder / name)
    assert len(read(folder)["train"]) == 12


def test_folders_named_after_splits_are_splits_and_share_no_picture(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_folder(tmp_path / "data" / split, numbered(), pictures=12 if split == "train" else 3)
    said = RecordingReport()
    with (tmp_path / "data" / "test" / "metadata.csv").open("w", encoding="utf-8") as file:
        file.write("file_name,text\n0.png,other words\n1.png,and others\n")
    splits = read(tmp_path / "data", said)
    assert [len(splits["train"]), len(splits["test"])] == [10, 2]
    assert "2 pictures of the train split" in said.warnings[0]


def test_a_table_with_pictures_in_its_cells_is_read_as_the_datasets_library_writes_it(tmp_path: Path) -> None:
    import pandas as pd

    cells = [{"bytes": made(number), "path": None} for number in range(12)]
    captions = [np.array([f"number {number}", f"the number {number}"]) for number in range(12)]
    pd.DataFrame({"image": cells, "caption": captions}).to_parquet(tmp_path / "pairs.parquet")
    (rows,) = read(tmp_path / "pairs.parquet").values()
    assert rows[5]["texts"] == ["number 5", "the number 5"]
    assert rows[5]["image"] == made(5)


def test_columns_under_other_names_are_said_or_found(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "usual", numbered(), header="file_name,caption")
    assert len(read(folder)["train"]) == 12
    folder = write_folder(tmp_path / "other", numbered(), header="bild,worte")
    assert len(read(folder, image="bild", text="worte")["train"]) == 12
    with pytest.raises(DataError, match="no column 'image': it has bild, worte"):
        read(folder)


@pytest.mark.parametrize("name", ["../0.png", "/etc/passwd", "a/../../0.png", "..\\0.png", "C:\\0.png"])
def test_a_file_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "data", [*numbered(), (name, "stolen")])
    with pytest.raises(DataError, match="outside its folder"):
        read(folder)


def test_pictures_that_cannot_be_opened_are_named_and_counted(tmp_path: Path) -> None:
    rows = [*numbered(), ("missing.png", "nothing"), ("torn.png", "half"), ("note.png", "words"), ("", "?")]
    folder = write_folder(tmp_path / "data", [*rows, ("0.png", " "), ("gone.png", "away")])
    (folder / "torn.png").write_bytes(made(1)[:200])
    (folder / "note.png").write_text("words", encoding="utf-8")
    said = RecordingReport()
    assert len(read(folder, said)["train"]) == 12
    text = "\n".join(said.warnings)
    assert "1 rows of" in text
    assert "4 pictures of" in text
    assert "gone.png (there is no such file), missing.png (there is no such file), note.png" in text
    assert "and 1 more" in text


def test_strict_training_refuses_them(train: Callable[..., Result], pictures_folder: Path) -> None:
    with (pictures_folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("missing.png,nothing\n")
    result = train("lora", "--strict", "--dry-run")
    assert result.code == 2
    assert "missing.png (there is no such file)" in result.error
    assert "--strict" not in result.err.splitlines()[-1]


def test_a_folder_without_captions_says_what_to_write(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", numbered())
    (tmp_path / "data" / "metadata.csv").unlink()
    with pytest.raises(NotFoundError, match=r"metadata\.csv") as caught:
        read(tmp_path / "data")
    assert "file_name,text" in str(caught.value.hint)


def test_no_usable_row_is_said(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", [("missing.png", "nothing")])
    with pytest.raises(DataError, match="both a picture and a caption"):
        read(folder)


# what is computed


def encoded(folder: Path, base: Path, max_length: int = 77) -> tuple[Any, Any, list[dict[str, Any]]]:
    task = load_task("clip-retrieval")
    processor = task.load_processor(base)
    return task, processor, task.encode(read(folder)["train"], processor, max_length)


def test_a_batch_has_each_picture_once_and_the_processors_own_values(tmp_path: Path, tiny_clip: Path) -> None:
    from transformers import CLIPProcessor

    folder = write_folder(tmp_path / "data", [*numbered(3), ("1.png", "a second caption")])
    task, processor, rows = encoded(folder, tiny_clip)
    assert [row["length"] for row in rows] == [1, 1, 1, 1]
    batch = task.collate(rows, processor)
    texts = ["picture number 0", "picture number 1", "a second caption", "picture number 2"]
    pictures = [Image.open(folder / f"{number}.png") for number in range(3)]
    whole = CLIPProcessor.from_pretrained(tiny_clip)(
        text=texts, images=pictures, return_tensors="pt", padding=True
    )
    assert batch["input_ids"].equal(whole["input_ids"])
    assert batch["attention_mask"].equal(whole["attention_mask"])
    assert batch["pixel_values"].shape == whole["pixel_values"].shape
    assert (batch["pixel_values"] - whole["pixel_values"]).abs().max() < 1e-5
    model, head = task.load_model(tiny_clip, [])
    assert head == []
    labels = batch.pop("labels")
    outputs = model.eval()(**batch)
    results = task.results(outputs, labels)
    assert results.shape == (4, 32)
    assert results[1, :16].equal(results[2, :16])


def test_the_loss_is_clips_where_nothing_occurs_twice() -> None:
    import torch
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    from zoo.tasks.image_text.contrastive import contrastive_loss, label

    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([label(number, 100 + number) for number in range(6)])
    ours = contrastive_loss(logits, labels)
    assert float(ours) == pytest.approx(6 * float(image_text_contrastive_loss(logits.T)), rel=1e-5)


def test_a_shared_caption_and_a_second_caption_are_right_answers_not_wrong_ones() -> None:
    import torch

    from zoo.tasks.image_text.contrastive import contrastive_loss, label, right_answers

    # picture 0 has captions 10 and 11, and picture 1 has caption 10 too
    labels = torch.tensor([label(0, 10), label(0, 11), label(1, 10), label(2, 12)])
    right = right_answers(labels)
    assert right.int().tolist() == [[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    sure = 40 * (right.float() - 0.5)
    # what is spread evenly over the right answers is the least that the loss can be
    ways = right.float()
    least = ways.sum(1)[[0, 0, 1, 2]].log().sum() + ways.sum(0).log().sum()
    assert float(contrastive_loss(sure, labels)) == pytest.approx(float(least) / 2, abs=1e-4)


def test_towers_that_train_in_parts_get_the_gradients_of_the_whole_batch(
    tiny_clip: Path, pictures_folder: Path
) -> None:
    import torch

    task, processor, rows = encoded(pictures_folder, tiny_clip)
    batch = task.collate(rows[:10], processor)
    labels = batch.pop("labels")
    found = []
    for part in (None, 5, 2):
        model, _ = task.load_model(tiny_clip, [])
        model.train()
        if part:
            while task._part != part:
                assert task.reduce_memory(model, 10)
        task.loss(model(**batch), labels).backward()
        found.append({name: value.grad for name, value in model.named_parameters()})
        assert all(torch.allclose(found[0][name], value, atol=1e-6) for name, value in found[-1].items())
    assert "1 pairs at a time" in task.reduce_memory(model, 10)
    assert task.reduce_memory(model, 10) is None


def test_captions_over_the_limit_are_cut_before_their_end_and_counted(
    tmp_path: Path, tiny_clip: Path, train: Callable[..., Result]
) -> None:
    rows = numbered()
    rows[4] = ("4.png", "word " * 300)
    folder = write_folder(tmp_path / "data", rows)
    task, processor, found = encoded(folder, tiny_clip)
    assert len(found[4]["input_ids"]) == 77
    assert found[4]["input_ids"][-1] == processor.tokenizer.eos_token_id
    assert task.remarks(found, 77) == ["1 captions have more than 77 tokens and are truncated."]
    result = train("lora", "--data", folder)
    assert "1 captions have more than 77 tokens and are truncated." in result.err


def test_a_trained_temperature_stays_at_a_hundred_and_a_frozen_one_as_it_is(tiny_clip: Path) -> None:
    import math

    task = load_task("clip-retrieval")
    model, _ = task.load_model(tiny_clip, [])
    for trained, expected in ((False, 7.0), (True, math.log(100))):
        model.logit_scale.requires_grad_(trained)
        model.logit_scale.data.fill_(7.0)
        task.after_step(model)
        assert model.logit_scale.item() == pytest.approx(expected)


# what is trained


def test_a_trained_adapter_is_measured_again_to_the_same_numbers_and_ranks(
    trained: Registry, zoo: Zoo, pictures_folder: Path
) -> None:
    (record,) = zoo("show", "lora-clip-retrieval", "--json").json
    names = [metric["name"] for metric in record["metrics"]]
    assert {"mean_recall", "image_to_text_recall@10", "text_to_image_median_rank", "alignment"} <= set(names)
    assert set(record["baselines"]) == {"chance", "untrained"}
    # a smaller gallery would be an easier one
    assert {m["n"] for m in record["baselines"]["untrained"]} == {record["data"]["n_held_out"]}
    assert any("only 6 held-out pictures" in flag for flag in record["flags"])
    again = zoo("evaluate", "lora-clip-retrieval", "--json")
    assert again.code == 0, again.err
    assert [m["value"] for m in again.json[0]["metrics"]] == pytest.approx(
        [m["value"] for m in record["metrics"]], rel=1e-4
    )
    asked = ("a red circle on white", min(pictures_folder.glob("*.png")))
    result = zoo("predict", "lora-clip-retrieval", *asked, "--gallery", pictures_folder, "--json")
    assert result.code == 0, result.err
    text, picture = result.json
    assert len(text["matches"]) == 10
    assert text["matches"][0]["match"].endswith(".png")
    assert picture["matches"][0]["match"].startswith("a ")
    scores = [match["similarity"] for match in text["matches"]]
    assert scores == sorted(scores, reverse=True)
    shown = zoo("predict", "full-clip-retrieval", "a red circle", "--gallery", pictures_folder)
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split("\t") == ["query", "rank", "match", "similarity"]
    alone = zoo("predict", "lora-clip-retrieval", "a red circle")
    assert alone.code == 2
    assert "--gallery" in alone.err
    lost = zoo("predict", "lora-clip-retrieval", "none.png", "--gallery", pictures_folder)
    assert lost.code == 3
    assert "none.png" in lost.error


def test_plain_peft_gives_the_embeddings_of_the_saved_adapter(
    trained: Registry, tiny_clip: Path, pictures_folder: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import CLIPModel

    from zoo.adapters.load import load

    loaded = load("lora-clip-retrieval", trained)
    rows = loaded.task.encode(read(pictures_folder)["train"], loaded.processor, 77)
    ours = loaded.outputs(rows, "fp32", Report(), "")
    batch = loaded.task.collate(rows, loaded.processor)
    batch.pop("labels")
    folder = trained.adapter_folder("lora-clip-retrieval")
    model = PeftModel.from_pretrained(CLIPModel.from_pretrained(tiny_clip), str(folder)).eval()
    with torch.inference_mode():
        plain = model(**batch)
    theirs = torch.cat([plain.image_embeds, plain.text_embeds], 1).numpy()
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_lines_on_the_card_run_as_they_are(
    trained: Registry, method: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    card = (trained.adapter_folder(f"{method}-clip-retrieval") / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(trained.folder)
    exec(compile(card.split("```python\n")[1].split("```")[0], "card", "exec"), {})
    assert "tensor([[" in capfd.readouterr().out


def test_an_adapter_merges_into_a_model_with_the_same_outputs(trained: Registry, tmp_path: Path) -> None:
    from zoo.adapters.merge import merge

    assert merge("lora-clip-retrieval", trained, tmp_path / "merged").difference < 1e-3


def test_a_linear_probe_is_refused(train: Callable[..., Result]) -> None:
    refused = train("head")
    assert refused.code == 5
    assert "no classification head" in refused.error


@pytest.mark.parametrize(
    ("asked", "towers"),
    [("vision", {"vision_model"}), ("text", {"text_model"}), ("both", {"vision_model", "text_model"})],
)
def test_one_tower_or_both_can_be_adapted(tiny_clip: Path, asked: str, towers: set[str]) -> None:
    from zoo.plugins import params as options

    task, method = load_task("clip-retrieval"), load_method("lora")
    params = options.parse(method.Params, {"targets": asked}, "lora")
    model, head = task.load_model(tiny_clip, [])
    adapted = method.attach(model, params, task, head)
    trained = [name for name, value in adapted.named_parameters() if value.requires_grad]
    assert {part for name in trained for part in ("vision_model", "text_model") if part in name} == towers
    kinds = {name.split(".self_attn.")[1].split(".")[0] for name in trained}
    assert kinds == {"q_proj", "k_proj", "v_proj", "out_proj"}


def test_chosen_modules_of_one_tower_can_be_adapted() -> None:
    task = load_task("clip-retrieval")
    assert task.resolve_targets(["vision", "fc1"]) == r".*vision_model\..*\.(fc1)"
    assert task.resolve_targets(["vision", "text", "fc1"]) == ["fc1"]
    assert task.resolve_targets(["q_proj"]) == ["q_proj"]


def test_short_memory_keeps_the_contrast_and_splits_the_computing(
    train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from zoo import ImageTextRetrieval

    asked = ("--batch-tokens", 16, "--json", "-s", "dropout=0")
    whole = train("lora", *asked).json
    load, seen = ImageTextRetrieval.load_model, []

    def load_model(self: Any, *args: Any, **options: Any) -> Any:
        model, head = load(self, *args, **options)

        def refuse(module: Any, inputs: Any) -> None:
            if torch.is_grad_enabled():
                seen.append(len(inputs[0]))
                if len(inputs[0]) > 4:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        model.vision_model.embeddings.register_forward_pre_hook(refuse)
        return model, head

    monkeypatch.setattr(ImageTextRetrieval, "load_model", load_model)
    result = train("lora", *asked, "--name", "short")
    assert result.code == 0, result.err
    assert "from there on 8 pairs at a time, computed twice, with the contrast of all 16." in result.err
    assert "from there on 4 pairs at a time" in result.err
    assert max(seen[2:]) == 4
    short = result.json
    assert (short["spec"]["batch_tokens"], short["spec"]["gradient_accumulation"]) == (16, 1)
    assert short["training"]["loss"] == pytest.approx(whole["training"]["loss"], rel=1e-4)


def test_a_dry_run_counts_from_the_config_and_says_that_data_must_be_given(
    zoo: Zoo, tiny_clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy(tiny_clip / "config.json", tmp_path / "config")
    (tmp_path / "config" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    result = zoo("train", "lora", "clip-retrieval", "--base", tmp_path / "config", "--dry-run")
    assert "learns from your own" in result.err
    # 2 towers of 2 layers of 4 matrices of 32 x 32, r = 8
    assert "trainable\t8,192" in result.out


def test_a_base_that_is_no_pair_of_towers_is_refused(
    train: Callable[..., Result], tiny_models: dict[str, Path]
) -> None:
    result = train("lora", "--base", tiny_models["bert"])
    assert result.code == 5
    assert "is a bert model, and clip-retrieval needs one of images and texts (clip, siglip)" in result.error


def test_a_base_without_an_image_processor_or_with_weights_missing_is_refused(
    tiny_clip: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    task = load_task("clip-retrieval")
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IncompatibleError, match=r"visual_projection\.weight"):
        task.load_model(folder, [])
    for name in ("processor_config.json", "preprocessor_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(NotFoundError, match="no image processor"):
        task.load_processor(folder)


def test_siglip_trains_with_its_padding_and_without_a_mask(
    zoo: Zoo, tiny_clip: Path, pictures_folder: Path, tmp_path: Path
) -> None:
    from transformers import CLIPProcessor, SiglipConfig, SiglipImageProcessorPil, SiglipModel, set_seed

    tokenizer = CLIPProcessor.from_pretrained(tiny_clip).tokenizer
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    set_seed(0)
    config = SiglipConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8})
    base = tmp_path / "siglip"
    SiglipModel(config).save_pretrained(base)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(base)
    tokenizer.model_max_length = 16
    tokenizer.model_input_names = ["input_ids"]
    tokenizer.save_pretrained(base)
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"model_input_names": ["input_ids"], "processor_class": "SiglipProcessor"}
    (base / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    result = zoo(
        *("train", "lora", "clip-retrieval", "--base", base, "--data", pictures_folder),
        *("--epochs", 1, "--json", "-s", "targets=both"),
    )
    assert result.code == 0, result.err
    assert result.json["spec"]["max_length"] == 16
    task = load_task("clip-retrieval")
    processor = task.load_processor(base)
    batch = task.collate(task.encode(read(pictures_folder)["train"], processor, 16), processor)
    assert set(batch) == {"input_ids", "pixel_values", "labels"}
    assert batch["input_ids"].shape[1] == 16


@pytest.mark.skipif(not (SHARED / "models" / "tiny-clip").is_dir(), reason="needs ../shared/models/tiny-clip")
def test_two_epochs_on_real_pictures_find_more_than_the_untouched_base(zoo: Zoo) -> None:
    result = zoo(
        *("train", "lora", "clip-retrieval", "--base", SHARED / "models" / "tiny-clip"),
        *("--data", SHARED / "data" / "fluent", "-s", "r=16", "-s", "alpha=64", "-s", "dropout=0.03"),
        *("--epochs", 2, "--json"),
    )
    assert result.code == 0, result.err
    record = result.json
    found, untrained = (
        {metric["name"]: metric["value"] for metric in metrics}
        for metrics in (record["metrics"], record["baselines"]["untrained"])
    )
    assert record["data"]["n_held_out"] == 259
    assert untrained["image_to_text_recall@10"] > 0.5
    assert found["mean_recall"] > untrained["mean_recall"] + 0.02
    assert found["alignment"] < untrained["alignment"]
