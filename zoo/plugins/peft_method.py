"""Makes a method of PEFT's a plugin, which states the config's fields once; this does the rest."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.errors import IncompatibleError, OptionError
from zoo.models.families import TARGETS_THAT_PEFT_LACKS
from zoo.plugins.method import Method, one_line
from zoo.plugins.params import param, parse

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import Tensor, nn

    from zoo.registry.schema import BaseId
    from zoo.tasks.base import Task

ALL_LINEAR = "all-linear"
Targets = tuple[str, ...] | None
TARGETS: Targets = param(
    None, f"modules to adapt, or {ALL_LINEAR}; none: the task's, or the usual ones of the model type"
)
"""The parameter that most methods of PEFT share: `targets: Targets = TARGETS`."""
_RANKS = ("init_r", "r")
"""What PEFT's configs call the rank that an update starts with."""


class PeftMethod(Method):
    """A method that PEFT has: a plugin states `peft_type`, Params and how PEFT calls them.

        class Miss(PeftMethod):
            name, peft_type = "miss", "MISS"
            summary = "one small matrix, repeated over the weight"
            peft_names = {"dropout": "miss_dropout"}

            @dataclass(frozen=True)
            class Params:
                r: int = param(32, "rows of the repeated matrix", least=1)
                dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
                targets: Targets = TARGETS

    The same mapping makes the config for training and reads one that was made elsewhere. A method with logic
    of its own overrides `peft_fields` or `fit`; one whose config is of no type of PEFT's, `config`.
    """

    format = "peft"
    unmergeable: str | None = None
    peft_type: str | None = None
    """What PEFT calls the method, as in adapter_config.json; None only where `config` is overridden."""
    peft_names: ClassVar[Mapping[str, str | None]] = {}
    """Parameter -> field of PEFT's config, where they differ; None: it is no field of PEFT's config."""
    peft_fixed: ClassVar[Mapping[str, bool]] = {}
    """Switches of PEFT's config that tell the method from others of its type: `{"use_dora": True}`."""
    default_targets: ClassVar[dict[str, list[str]]] = TARGETS_THAT_PEFT_LACKS
    """Modules to adapt, by model type, where PEFT has no default for the method."""
    uses_task_targets: bool = True
    """The targets of the task, which are for low-rank updates, are the default."""
    block_sizes: ClassVar[Mapping[str, tuple[int, tuple[int, ...]]]] = {}
    """Field of PEFT's config -> (largest default, sides of the matrices, 0 in and 1 out, that it divides)."""
    bounded_rank: bool = True
    """A rank above the smaller side of a matrix is refused: the update could not have it."""

    def config(self, params: Any, task: Task) -> PeftConfig:
        """The PEFT config. `modules_to_save` is filled in by `attach`."""
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING as CLASSES
        from peft import PeftType

        config: PeftConfig = CLASSES[PeftType(self.peft_type)](**self.peft_fields(params, task))
        return config

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        """Arguments of PEFT's config class, by its names."""
        fields: dict[str, Any] = {"task_type": task.peft_type, **self.peft_fixed}
        for name, field in self._mapping().items():
            value = self.targets(params, task) if name == "targets" else getattr(params, name)
            fields[field] = list(value) if isinstance(value, tuple) else value
        return fields

    def recognise(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        is_other = any(bool(config.get(key)) != value for key, value in self.peft_fixed.items())
        if self.peft_type is None or config.get("peft_type") != self.peft_type or is_other:
            return None
        found: dict[str, Any] = {}
        for name, field in self._mapping().items():
            value = config.get(field)
            if isinstance(value, str):  # of modules a pattern, whose commas separate nothing; else a choice
                value = [value] if name == "targets" else value.lower()
            if value is None:
                continue
            try:
                found[name] = getattr(parse(self.Params, {**found, name: value}, self.name), name)
            except OptionError:  # PEFT allows what the method here does not: it reads its own config anyway
                continue
        return found

    def _mapping(self) -> dict[str, str]:
        """Parameter -> field of PEFT's config."""
        mapping = {field.name: field.name for field in dataclasses.fields(self.Params)}
        if "targets" in mapping:
            mapping["targets"] = "target_modules"
        return {name: field for name, field in (mapping | dict(self.peft_names)).items() if field is not None}

    def fit(self, config: Any, model: nn.Module) -> None:
        """Fill in what PEFT would need to be told about this model, once the targets are settled.

        Raises:
            IncompatibleError: the method does not fit this model.
        """
        for name, (most, sides) in self.block_sizes.items():
            setattr(config, name, self.block(config, model, name, most, sides))

    def targets(self, params: Any, task: Task) -> list[str] | str | None:
        """What the person asked for, else what the task knows; None leaves it to the model type."""
        if not self.uses_task_targets:
            return list(params.targets or ()) or None
        asked = task.resolve_targets(params.targets) if params.targets else task.targets
        return asked if isinstance(asked, str) else list(asked or ()) or None

    def usual_targets(self, config: PeftConfig, model: nn.Module) -> list[str] | None:
        """The modules to adapt where nobody named any; None where that is not known of the model's type."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
        from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as OF_IA3

        kind = model.config.model_type
        usual = getattr(PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type], "target_module_mapping", OF_IA3)
        return self.default_targets.get(kind) or usual.get(kind)

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        from peft import get_peft_model

        config = self.config(params, task)
        if hasattr(config, "modules_to_save"):
            config.modules_to_save = list(head) or None
        if hasattr(config, "target_modules"):
            self._settle_targets(config, model)
        self.fit(config, model)
        if self.bounded_rank:
            self._check_rank(config, model)
        try:
            return get_peft_model(model, config)
        except (ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise self.does_not_fit(model, one_line(error)) from error

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        from peft import get_peft_model_state_dict

        found: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
        return found

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        for config in model.peft_config.values():
            config.base_model_name_or_path = base.reference
            config.revision = base.revision
            for name in ("modules_to_save", "target_modules", "feedforward_modules"):
                value = getattr(config, name, None)
                if isinstance(value, set | list):
                    # a set's order changes from run to run, and with it the file's hash; to the modules to
                    # save PEFT adds its own guesses, twice over
                    unique = dict.fromkeys(sorted(value) if isinstance(value, set) else value)
                    setattr(config, name, list(unique))
        model.create_or_update_model_card = lambda folder: None  # PEFT's own; ours is made from the record
        # save_embedding_layers="auto" would ask the Hub for the base's vocabulary; nothing here resizes it
        model.save_pretrained(str(folder), save_embedding_layers=False)

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        from peft import PeftModel, get_peft_model_state_dict

        from zoo.models.safetensors_header import read_header

        adapted = PeftModel.from_pretrained(model, str(folder))
        path = folder / "adapter_model.safetensors"
        held = read_header(path)
        wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        missing = [name for name in wanted if name not in held]
        if missing:  # PEFT warns, and goes on with random numbers in their place
            raise IncompatibleError(f"{path} lacks {len(missing)} tensors, {missing[0]} first.")
        return adapted

    def merge(self, model: nn.Module) -> nn.Module:
        if self.unmergeable:
            return super().merge(model)
        _unwrap_heads(model.get_base_model())
        merged: nn.Module = model.merge_and_unload(safe_merge=True)
        return merged

    def usage(self) -> str:
        return "from peft import PeftModel\n\nmodel = PeftModel.from_pretrained(model, folder)"

    def block(self, config: Any, model: nn.Module, name: str, most: int, sides: Sequence[int]) -> int:
        """A size of blocks that divides the `sides` (0 in, 1 out) of every adapted matrix.

        The one that `config` has under `name`; where it has none, the largest up to `most`.

        Raises:
            IncompatibleError: the size asked for leaves a remainder.
        """
        sizes = {shape[side] for shape in targeted(config, model).values() for side in sides}
        asked = getattr(config, name)
        common = math.gcd(*sizes) or most
        if asked and common % asked:
            largest = max(one for one in range(1, min(asked, common) + 1) if common % one == 0)
            raise IncompatibleError(
                f"{self.name}: {name} {asked} does not divide {', '.join(map(str, sorted(sizes)))}, "
                "the sides of the matrices to adapt.",
                f"-s {name}={largest}",
            )
        return asked or max(one for one in range(1, min(most, common) + 1) if common % one == 0)

    def _settle_targets(self, config: Any, model: nn.Module) -> None:
        """Names that exist: PEFT takes a list of which some match for the whole list."""
        if config.target_modules is None:
            config.target_modules = self.usual_targets(config, model)
        if config.target_modules is None:
            raise self.does_not_fit(
                model,
                f"which modules to adapt is not known for it; it has {', '.join(matrices(model))}",
                "-s targets=all-linear",
            )
        named: Any = config.target_modules
        if isinstance(named, str):
            return
        if list(named) == [ALL_LINEAR]:
            config.target_modules = ALL_LINEAR
            return
        names = [name for name, _ in model.named_modules()]
        missing = [one for one in named if not any(name == one or name.endswith(f".{one}") for name in names)]
        if missing:
            has = ", ".join(matrices(model))
            raise self.does_not_fit(model, f"no module is called {', '.join(sorted(missing))}; it has {has}")

    def _check_rank(self, config: Any, model: nn.Module) -> None:
        name = next((one for one in _RANKS if isinstance(getattr(config, one, None), int)), None)
        if name is None:
            return
        for module, shape in targeted(config, model).items():
            if getattr(config, name) > min(shape):
                raise IncompatibleError(
                    f"{self.name}: rank {getattr(config, name)} is above the {min(shape)} "
                    f"of the matrix {module}.",
                    f"-s {name}={min(shape)}",
                )

    def does_not_fit(self, model: nn.Module, reason: str, hint: str | None = None) -> IncompatibleError:
        """To be raised: which method on which model type, and why."""
        return IncompatibleError(
            f"{self.name} does not fit this {model.config.model_type}: {reason.rstrip('.')}.",
            hint or f"zoo methods {self.name}",
        )


class PromptMethod(PeftMethod):
    """Trained vectors before the text. Params has `num_virtual_tokens`."""

    unmergeable = "its prompts are inputs, not weights of the base"

    def refuses(self, task: Task, params: Any) -> str | None:
        if task.peft_type in ("SEQ_CLS", "CAUSAL_LM"):
            return None
        return f"its prompts go before the text of one language model, and {task.name} has none"

    def virtual_tokens(self, params: Any) -> int:
        return int(params.num_virtual_tokens)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        import torch

        encoder = model.prompt_encoder[model.active_adapter]
        if encoder.embedding.weight.is_meta:
            # only sizes are wanted; PEFT would move what has no content to the CPU
            tokens = torch.arange(encoder.embedding.num_embeddings, device="meta")
            model.get_prompt_embedding_to_save = lambda adapter: encoder(tokens[None])[0]
        return super().state(model)

    def usage(self) -> str:
        # zoo does it for padded batches too, see _padding_first
        return f"{super().usage()}  # with a decoder that classifies: one text at a time"

    def fit(self, config: Any, model: nn.Module) -> None:
        shape = model.config.get_text_config()
        if shape.is_encoder_decoder:
            raise self.does_not_fit(model, "its texts have an encoder and a decoder")
        # PEFT reads these under the names that most model types give them; transformers knows all names
        config.num_layers, config.num_attention_heads = shape.num_hidden_layers, shape.num_attention_heads
        config.token_dim = model.get_input_embeddings().weight.shape[1]

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        return _padding_first(super().attach(model, params, task, head))

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        return _padding_first(super().restore(model, folder, params, task))


def _unwrap_heads(model: nn.Module) -> None:
    """Put the trained heads in their places: some of PEFT's methods leave them wrapped, or fail on them."""
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, module.modules_to_save[module.active_adapters[0]])


def matrices(model: nn.Module) -> list[str]:
    """Last parts of the names of the model's linear layers, each once, in order."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in _linear(model)))


def targeted(config: Any, model: nn.Module) -> dict[str, tuple[int, int]]:
    """Size of the input and of the output of each linear layer that `config` would adapt, by name."""
    from peft.tuners.tuners_utils import _maybe_include_all_linear_layers, check_target_module_exists

    settled = _maybe_include_all_linear_layers(copy.copy(config), model)
    return {name: size for name, size in _linear(model).items() if check_target_module_exists(settled, name)}


def _linear(model: nn.Module) -> dict[str, tuple[int, int]]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            found[name] = (module.nx, module.nf)
    return found


def _padding_first(adapted: nn.Module) -> nn.Module:
    """Let a decoder that classifies see each text's padding before the prompt and not after the text.

    It reads the last token. Of embeddings, which is what a prompt makes of a text, it cannot tell which are
    padding, so it would read the last of them. In front it also leaves prompt and text side by side.
    """
    from transformers.models.auto import modeling_auto as known

    decoders = known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - known.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if adapted.active_peft_config.task_type != "SEQ_CLS" or adapted.config.model_type not in decoders:
        return adapted
    places = "position_ids" in inspect.signature(adapted.base_model.forward).parameters

    def move(model: nn.Module, args: Any, given: dict[str, Any]) -> Any:
        embeds, mask = given.get("inputs_embeds"), given.get("attention_mask")
        if embeds is None or mask is None:
            return None
        order = mask.argsort(dim=1, stable=True)
        mask = mask.gather(1, order)
        embeds = embeds.gather(1, order[:, :, None].expand_as(embeds))
        found = {**given, "inputs_embeds": embeds, "attention_mask": mask}
        if places:
            found["position_ids"] = mask.long().cumsum(1).sub(1).clamp(min=0)
        return args, found

    adapted.base_model.register_forward_pre_hook(move, with_kwargs=True)
    return adapted
