"""Trainings that are refused, by the place that refuses them."""

from __future__ import annotations

from tests.cli.next_steps.harness import QUICK, TRAIN, Case, World

DRY = f"{TRAIN} --dry-run"
CHAT = f"train lora tinyllama-chat --base llama --data talk.jsonl {QUICK} --registry kept --dry-run"
PREPARE, KERNELS = "zoo/training/prepare.py", "zoo/training/portable.py"


def trained(world: World) -> None:
    world.keep_trained()


def clip(world: World) -> None:
    world.base("clip", "clip")


def half_made(world: World) -> None:
    world.keep_trained()
    world.registry.path.unlink()


def chat(world: World) -> None:
    from zoo.testing.data import write_conversations

    world.base("llama", "llama")
    write_conversations(world.folder / "talk.jsonl")


def no_tokenizer(world: World) -> None:
    for path in (world.folder / "base").glob("*token*"):
        path.unlink()


def portable(world: World) -> None:
    """torch computes as --portable asks, as if it had been imported after that."""
    world.patch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    world.patch.setenv("MKL_CBWR", "COMPATIBLE")


def without_avx2(world: World) -> None:
    portable(world)
    world.patch.setattr("zoo.training.portable.has_avx2", lambda: False)


def quantised(world: World) -> None:
    portable(world)
    world.patch.setattr("zoo_methods.lora.Lora.load_options", lambda self, params: {"quantised": True})


PORTABLE = f"{DRY} --portable".replace("--precision fp32", "--precision auto")
CASES = [
    Case(
        "plugins/zoo_methods/prompt.py _tokens 1",
        f"{DRY} -s init_text=film".replace("lora", "prompt"),
        "--dry-run",
        no_tokenizer,
    ),
    Case(f"{PREPARE} _check_base 1", DRY.replace("--base base", "--base clip"), "--base pip:", clip),
    Case(f"{PREPARE} _check_rank 1", f"{DRY} -s r=4000", "-s r=32"),
    Case(f"{PREPARE} _check_packing 1", f"{DRY} --packing"),
    Case(f"{PREPARE} _check_packing 2", f"{CHAT} --packing".replace("lora", "p-tuning"), "", chat),
    Case(f"{PREPARE} _check_settings 1", DRY.replace("--limit 16", "--limit 0"), "--dry-run"),
    Case(f"{PREPARE} _check_settings 2", f"{DRY} --seed -1", "--dry-run"),
    Case(f"{PREPARE} _check_settings 3", f"{DRY} --base-dropout maybe", "--dry-run"),
    Case(f"{PREPARE} _check_settings 4", CHAT.replace("lora", "head"), "zoo methods", chat),
    Case(
        f"{KERNELS} choose_kernels 1",
        f"{PORTABLE} --compile",
        "zoo train lora bert-imdb",
        portable,
    ),
    Case(
        f"{KERNELS} choose_kernels 1",
        f"{PORTABLE} --precision bf16",
        "--precision fp32",
        portable,
    ),
    Case(f"{KERNELS} check_method 1", PORTABLE, "zoo train lora bert-imdb", quantised),
    Case(f"{KERNELS} check_kernels 1", PORTABLE, "zoo train lora bert-imdb", without_avx2),
    Case(f"{PREPARE} fitting_length 1", f"{DRY} -s num_virtual_tokens=60".replace("lora", "prompt")),
    Case(f"{PREPARE} fitting_length 2", f"{DRY} --max-length 300", "--max-length 66"),
    Case("zoo/plugins/manager.py check_name 1", DRY.replace("lora", "lorra"), "zoo train lora bert-imdb"),
    Case("zoo/plugins/manager.py check_name 1", DRY.replace("lora", "xyzzy"), "zoo methods"),
    Case("zoo/plugins/manager.py check_name 1", DRY.replace("bert-imdb", "xyzzy"), "zoo tasks"),
    Case(
        "zoo/plugins/manager.py load_pair 1",
        DRY.replace("lora bert-imdb", "bert-imdb lora"),
        "zoo train lora bert-imdb",
    ),
    Case("zoo/plugins/params.py split_pairs 1", f"{DRY} -s r", "-s r=VALUE", fill={"VALUE": "4"}),
    Case("zoo/plugins/params.py parse 1", f"{DRY} -s rank=4", "-s r=4"),
    Case("zoo/runtime/device.py choose_precision 1", f"{DRY} --precision half", "--precision auto"),
    Case("zoo/runtime/device.py choose_precision 2", f"{DRY} --precision bf16", "--precision auto"),
    Case("zoo/registry/names.py check_name 1", f"{DRY} --name 'a b'", "--name a-b"),
]
