"""Checks an untrusted adapter_config.json before PEFT reads it, imports modules and loads files by it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zoo.errors import IncompatibleError
from zoo.models.safetensors_header import named
from zoo.security.patterns import is_quick

_FIELDS = """
ab_svd_init act_fn adapter_layers adapter_len adapters alora_invocation_tokens alpha alpha_pattern apply_GS
arrow_config asa_importance_beta asa_schedule_exponent asa_target_subspaces asa_uncertainty_beta auto_mapping
auxiliary_loss_weight base_model_name_or_path beta1 beta2 bias block_share block_size block_size_pattern
boft_block_num boft_block_size boft_dropout boft_n_butterfly_factor cayley_neumann_eps coft config_A_B
config_C config_D_E corda_config cpt_mask cpt_token_ids cpt_tokens_type_mask d_initial decompose_both
decompose_factor decomposition_method deft_dropout delora_lambda deltaT depth effective_rank enable_softmax
enable_softmax_topk encoder_dropout encoder_hidden_size encoder_num_layers encoder_reparameterization_type
ensure_weight_tying eps eva_config exclude_modules fan_in_fan_out feedforward_modules final_warmup
frod_dropout generator_seed global_scaling_weight gralora_dropout gralora_k group_size hidden_size
hira_dropout hybrid_r inference_mode init_ia3_weights init_logits_std init_lora_weights init_r init_scale
init_theta_d_bound init_v_bound init_vector_bank_bound init_warmup init_weights kasa_config lambda_pattern
layer_replication layers_pattern layers_to_transform layerwise_scalings loftq_config lora_alpha lora_bias
lora_dropout lora_ga_config mask_interval mask_type megatron_config megatron_core mini_r miss_dropout
module_dropout modules_to_save monteclora_config n_frequency n_frequency_pattern n_skills n_splits n_tasks
num_B num_attention_heads num_cayley_neumann_terms num_frozen_tokens num_layers num_ranks num_subspaces
num_tasks num_transformer_submodules num_vectors num_virtual_tokens oft_block_size opt_loss_decay_factor
opt_projection_epsilon opt_projection_format_epsilon opt_weighted_loss_type orth_reg_weight para peft_type
peft_version poly_type prefix_projection progressbar proj_seed projection_prng_key projection_seed
prompt_tuning_init prompt_tuning_init_state_dict_path prompt_tuning_init_task prompt_tuning_init_text
proportional_parameters psoft_alpha psoft_dropout psoft_mag_a psoft_mag_b psoft_orth psoft_svd
psoft_svd_lowrank_niter pvera_dropout qalora_group_size r randlora_alpha randlora_dropout random_loc_seed
random_seed rank_dropout rank_dropout_scale rank_pattern regularization_alpha revision runtime_config
runtime_offload_base_weight sample_at_inference save_indices save_only_topk_weights save_precomputed_indices
save_projection scaling scaling_pass_value select_top shadow_alpha shadow_dropout shadow_hidden_size
shadow_intermediate_size shadow_model shadow_num_attention_heads shadow_num_hidden_layers share_embeddings
softmax_temperature sparse sparse_rate sparsity stride_A subspace_rank svd_threshold target_modules
target_parameters target_r target_svd_config task_type tfinal theta_d_length tinit tinylora_dropout token_dim
token_indices tokenizer_kwargs tokenizer_name_or_path top_k_lora topk total_step trainable_token_indices u
unilora_dropout update_hidden_size use_asa use_bdlora use_cayley_neumann use_dora use_dynamic_rank
use_effective_conv2d use_idwt use_qalora use_rslora use_trainable_adapters variant vblora_dropout
vector_length velora_config vera_dropout very_sparse wavelet_family weight_tying xlora_depth xlora_dropout_p
xlora_size
"""
KNOWN = frozenset(_FIELDS.split())
"""Every field of every config class of PEFT 0.21; a test compares it with the PEFT that is installed."""
_LIBRARY = re.compile(r"(transformers|diffusers)(\.[A-Za-z_]\w*)*")
"""What PEFT may import a base's class from."""
_CLASS = re.compile(r"[A-Z]\w*")
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{1,40}")
_PATTERN_KEYS = (
    *sorted(key for key in KNOWN if key.endswith(("_modules", "_pattern"))),
    "modules_to_save",
    "target_parameters",
    "target_svd_config",
)
"""Whose texts, lists' items or dictionaries' keys PEFT matches as regular expressions."""
_LONGEST_PATTERN = 2_000
_MOST_PATTERNS = 20_000
_LARGEST = 10_000_000
"""No size, rank or count of a method comes near it; PEFT sets memory aside before it sees the weights."""
_NO_SIZES = ("seed", "prng_key", "token_ids", "token_indices", "invocation_tokens", "total_step", "deltaT")
_MOST_LAYERS = 2_000
_DEEPEST = 8
REMEDY = "remove it from a copy of the folder, then zoo import the copy"
_Check = Callable[[Any], str | None]
"""What is wrong with a value; None where it is harmless."""


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Refuse a value that PEFT would act on. `where` names the file in a message.

    Raises:
        IncompatibleError: it would run code, read files of this machine, load another model or adapter,
            or take all memory or time.
    """
    for problem in _problems(config):
        raise IncompatibleError(f"{where} {problem}.", REMEDY)


def without_unknown(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The config as PEFT may read it, and the keys that were removed: those of a newer PEFT, or of no PEFT.

    PEFT would drop them too, unless it is newer than this list and acts on them.
    """
    return {key: value for key, value in config.items() if key in KNOWN}, sorted(config.keys() - KNOWN)


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    for path, value, depth in _walk(config):
        if depth > _DEEPEST:
            yield f"is nested deeper than {_DEEPEST} levels at {path[:80]}"
        if path.rpartition(".")[2] == "trust_remote_code" and value:
            yield f"sets {path}: it asks to run code from a repository"
        if isinstance(value, float) and not math.isfinite(value):
            yield f"has the value {value} for {path}"
        is_size = path.partition(".")[0] in KNOWN and not any(part in path for part in _NO_SIZES)
        if is_size and type(value) is int and abs(value) > _LARGEST:
            yield f"asks for {path} = {value:,}: that would take all memory"
    for key, check in _CHECKS.items():
        if config.get(key) and (problem := check(config[key])):
            yield problem
    for key in _PATTERN_KEYS:
        yield from _pattern_problems(key, config.get(key))


def _walk(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any, int]]:
    """Every value with the dotted path of its keys and its depth."""
    if path:
        yield path, value, depth
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{named(key)}" if path else named(key), depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, path or "it", depth + 1)


def _check_mapping(mapping: Any) -> str | None:
    library = mapping.get("parent_library") if isinstance(mapping, Mapping) else mapping
    name = mapping.get("base_model_class") if isinstance(mapping, Mapping) else None
    if library is not None and (not _LIBRARY.fullmatch(str(library)) or "dynamic_module" in library):
        shown = named(str(library))
        return f"makes PEFT import '{shown}' (auto_mapping.parent_library), which may run any code"
    if name is not None and not (isinstance(name, str) and _CLASS.fullmatch(name)):
        shown = named(str(name))
        return f"makes PEFT call '{shown}' (auto_mapping.base_model_class), which is no model class"
    return None


def _only(allowed: str | None, problem: str) -> _Check:
    """No value but `allowed`; `{}` in the problem stands for the value."""
    return lambda value: None if value == allowed else problem.format(named(str(value)))


def _check_type(value: Any) -> str | None:
    is_type = isinstance(value, str) and _TYPE.fullmatch(value)
    return None if is_type else f"has no PEFT type but '{named(str(value))}'"


def _check_reference(key: str) -> _Check:
    """A path on its author's disk is not here, and harmless; a network share sees who looks at it."""

    def check(value: Any) -> str | None:
        if not isinstance(value, str) or len(value) > 4_096 or not value.isprintable():
            return f"has a {key} that is no name of a model: '{named(str(value))}'"
        if value.startswith(("\\\\", "//")):
            return f"has a {key} on another machine, '{named(value)}'"
        return None

    return check


def _check_tokenizer_kwargs(value: Any) -> str | None:
    """PEFT passes them to the tokenizer's loader, which reads files and opens addresses by such names."""
    for key in value if isinstance(value, Mapping) else [value]:
        if key not in ("use_fast", "padding_side", "truncation_side", "add_prefix_space", "legacy"):
            return f"sets tokenizer_kwargs.{named(str(key))}, which is passed to the tokenizer's loader"
    return None


def _check_replication(value: Any) -> str | None:
    try:
        layers = sum(end - start for start, end in value)
    except (TypeError, ValueError):
        return "has a layer_replication that is no list of ranges"
    if layers > _MOST_LAYERS:
        return f"asks for {layers:,} layers (layer_replication): that would take all memory"
    return None


_CHECKS: dict[str, _Check] = {
    "peft_type": _check_type,
    "task_type": _check_type,
    "auto_mapping": _check_mapping,
    # PEFT writes megatron.core into every LoRA, and imports it only with a config
    "megatron_core": _only("megatron.core", "makes PEFT import '{}' (megatron_core): any code may run"),
    "megatron_config": _only(
        None, "sets megatron_config = '{}': PEFT then imports and calls Megatron with it"
    ),
    "adapters": _only(
        None, "sets adapters = '{}': PEFT then fetches and loads other adapters, past these checks"
    ),
    "shadow_model": _only("mirror", "makes PEFT load another model, '{}' (shadow_model)"),
    "prompt_tuning_init_state_dict_path": _only(
        None,
        "sets prompt_tuning_init_state_dict_path = '{}': PEFT then reads that file, which may be pickled",
    ),
    "tokenizer_kwargs": _check_tokenizer_kwargs,
    "base_model_name_or_path": _check_reference("base_model_name_or_path"),
    "tokenizer_name_or_path": _check_reference("tokenizer_name_or_path"),
    "revision": _check_reference("revision"),
    "layer_replication": _check_replication,
}


def _pattern_problems(key: str, value: Any) -> Iterator[str]:
    patterns = list(value) if isinstance(value, list | dict) else [value] if value else []
    if len(patterns) > _MOST_PATTERNS:
        yield f"has {len(patterns):,} names in {key}; {_MOST_PATTERNS:,} are allowed"
    for pattern in patterns:
        if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN:
            yield f"has no name of a module in {key} but '{named(str(pattern))}'"
        elif not is_quick(pattern):
            yield f"has a pattern in {key} that may be tried for hours: '{named(pattern)}'"
