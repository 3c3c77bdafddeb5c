"""The sub-models of tiny image generation models, made of random weights with OpenVINO's own operations.

Each has the inputs and outputs of the real one (names, shapes, dtypes; source: OpenVINO GenAI 2026.4.1, which finds them by name
or by number) and lets every one of them change its result, so that a prompt that is lost on the way is noticed. None has learnt
anything: the pictures are noise of a sort.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import openvino
from openvino import opset13 as ops

VOCABULARY: Final = 803
"""Tokens of the tokenizer that comes with the project."""
WIDTH: Final = 8
"""Length of every embedding."""
LAYERS: Final = 2
"""Layers that a text encoder claims to have."""
SCALE: Final = 8
"""Pixels per latent pixel, along each side."""
_ANY: Final = -1
_IMAGE_PER_PATCH: Final = 4


class _Weights:
    """Random numbers that depend on nothing but the place they are for: a change to one model leaves the others as they are."""

    def __init__(self, place: str) -> None:
        self._random = np.random.default_rng(zlib.crc32(place.encode()))

    def __call__(self, *shape: int, scale: float = 1.0) -> Any:
        return ops.constant((self._random.standard_normal(shape) * scale).astype(np.float32))


def _input(name: str, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    parameter = ops.parameter(list(shape), dtype, name=name)
    parameter.output(0).set_names({name})
    return parameter


def _model(outputs: Sequence[tuple[str, Any]], inputs: Sequence[Any]) -> openvino.Model:
    results = []
    for name, node in outputs:
        result = ops.result(node)
        result.output(0).set_names({name})
        results.append(result)
    return openvino.Model(results, list(inputs))


def _ints(*values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))


def _over_tokens(states: Any) -> Any:
    """[batch, tokens, width] -> [batch, width]."""
    return ops.reduce_mean(states, _ints(1), keep_dims=False)


def _times(left: Any, right: Any) -> Any:
    return ops.matmul(left, right, False, False)


# ---- texts


def _token_states(ids: Any, weights: _Weights, width: int = WIDTH) -> Any:
    """Token numbers [batch, tokens] -> [batch, tokens, width]: each token with a share of all of them."""
    states = ops.gather(weights(VOCABULARY, width), ids, _ints(0))
    return ops.tanh(ops.add(states, ops.reduce_mean(states, _ints(1), keep_dims=True)))


def clip_text_encoder(place: str, *, with_projection: bool) -> openvino.Model:
    """CLIPTextModel or CLIPTextModelWithProjection with all of its hidden states."""
    weights = _Weights(place)
    ids = _input("input_ids", (_ANY, _ANY), np.int64)
    first = _token_states(ids, weights)
    hidden = [first]
    for _ in range(LAYERS):
        hidden.append(ops.tanh(_times(hidden[-1], weights(WIDTH, WIDTH))))
    pooled = _times(_over_tokens(hidden[-1]), weights(WIDTH, WIDTH))
    heads = (
        [("text_embeds", pooled), ("last_hidden_state", hidden[-1])]
        if with_projection
        else [("last_hidden_state", hidden[-1]), ("pooler_output", pooled)]
    )
    return _model([*heads, *((f"hidden_states.{i}", state) for i, state in enumerate(hidden))], [ids])


def t5_encoder(place: str, width: int = WIDTH) -> openvino.Model:
    """T5EncoderModel."""
    ids = _input("input_ids", (_ANY, _ANY), np.int64)
    return _model([("last_hidden_state", _token_states(ids, _Weights(place), width))], [ids])


def qwen_text_encoder(place: str, layers: Sequence[int]) -> openvino.Model:
    """Qwen3ForCausalLM or Qwen2_5_VLForConditionalGeneration: hidden states, of some layers, of tokens that a mask may hide."""
    ids = _input("input_ids", (_ANY, _ANY), np.int64)
    mask = _input("attention_mask", (_ANY, _ANY), np.int64)
    shown = ops.unsqueeze(ops.convert(mask, np.float32), _ints(2))
    weights = _Weights(place)
    share = ops.reduce_mean(shown, _ints(1), keep_dims=True)  # most of a text's length is padding
    states = ops.divide(ops.multiply(_token_states(ids, weights), shown), share)
    return _model([(f"hidden_states.{layer}", _times(states, weights(WIDTH, WIDTH))) for layer in layers], [ids, mask])


# ---- pictures


def vae_decoder(place: str, latent_channels: int) -> openvino.Model:
    """AutoencoderKL's second half: latents -> pixels from -1 to 1."""
    weights = _Weights(place)
    latent = _input("latent_sample", (_ANY, latent_channels, _ANY, _ANY))
    return _model([("sample", _pixels(latent, latent_channels, weights))], [latent])


def vae_encoder(place: str, latent_channels: int) -> openvino.Model:
    """AutoencoderKL's first half: pixels -> mean and logarithm of the variance of latents."""
    picture = _input("sample", (_ANY, 3, _ANY, _ANY))
    return _model([("latent_parameters", _latents(picture, latent_channels, _Weights(place)))], [picture])


def video_vae_encoder(place: str, latent_channels: int) -> openvino.Model:
    """AutoencoderKLQwenImage's first half: its pixels and latents have a dimension for time, of length 1."""
    picture = _input("sample", (_ANY, 3, _ANY, _ANY, _ANY))
    latents = _latents(ops.squeeze(picture, _ints(2)), latent_channels, _Weights(place))
    return _model([("latent_parameters", ops.unsqueeze(latents, _ints(2)))], [picture])


def video_vae_decoder(place: str, latent_channels: int) -> openvino.Model:
    """AutoencoderKLQwenImage's second half: its latents and pixels have a dimension for time, of length 1."""
    weights = _Weights(place)
    latent = _input("latent_sample", (_ANY, latent_channels, _ANY, _ANY, _ANY))
    pixels = _pixels(ops.squeeze(latent, _ints(2)), latent_channels, weights)
    return _model([("sample", ops.unsqueeze(pixels, _ints(2)))], [latent])


def _pixels(latent: Any, latent_channels: int, weights: _Weights) -> Any:
    colours = _convolution(latent, weights(3, latent_channels, 1, 1, scale=0.7 * latent_channels**-0.5))
    return ops.tanh(_enlarged(colours, SCALE))


def _latents(picture: Any, latent_channels: int, weights: _Weights) -> Any:
    blocks = ops.avg_pool(picture, [SCALE, SCALE], [0, 0], [0, 0], [SCALE, SCALE], exclude_pad=False)
    mean = _convolution(blocks, weights(latent_channels, 3, 1, 1))
    log_variance = ops.subtract(ops.multiply(mean, ops.constant(np.float32(0.1))), ops.constant(np.float32(6)))
    return ops.concat([mean, log_variance], 1)


def _convolution(data: Any, kernel: Any, stride: int = 1) -> Any:
    side = kernel.shape[2]
    before = (side - 1) // 2
    after = side - stride - before if stride > 1 else side - 1 - before
    return ops.convolution(data, kernel, [stride, stride], [before, before], [max(after, 0)] * 2, [1, 1])


def _enlarged(data: Any, factor: int) -> Any:
    scales = ops.constant(np.array([factor, factor], dtype=np.float32))
    return ops.interpolate(data, scales, "nearest", "scales", axes=_ints(2, 3), nearest_mode="floor")


# ---- denoisers


def _wave(timestep: Any) -> Any:
    """A time step, of any dtype, -> numbers from -1 to 1, [1 or batch, 2]."""
    angle = ops.unsqueeze(ops.multiply(ops.convert(timestep, np.float32), ops.constant(np.float32(0.01))), _ints(1))
    return ops.concat([ops.sin(angle), ops.cos(angle)], 1)


def _influence(channels: int, weights: _Weights, facts: Sequence[tuple[Any, int]]) -> Any:
    """Facts, each [1 or batch, width] -> one number for each channel, [batch, channels]."""
    parts = [_times(fact, weights(width, channels, scale=2 * width**-0.5)) for fact, width in facts]
    total = parts[0]
    for part in parts[1:]:
        total = ops.add(total, part)
    return ops.tanh(total)


def unet(
    place: str, latent_channels: int, *, in_channels: int, text_width: int, size_facts: bool = False, guidance: int = 0
) -> openvino.Model:
    """UNet2DConditionModel with two levels: it halves its input, and doubles it again.

    Args:
        place: gives the weights.
        latent_channels: of its output.
        in_channels: of its input; more than ``latent_channels`` for inpainting.
        text_width: length of the text encoders' embeddings together.
        size_facts: take ``text_embeds`` and ``time_ids``, as Stable Diffusion XL does.
        guidance: length of ``timestep_cond``, which latent consistency models take; 0 for none.
    """
    weights = _Weights(place)
    sample = _input("sample", (_ANY, in_channels, _ANY, _ANY))
    timestep = _input("timestep", (_ANY,), np.int64)
    text = _input("encoder_hidden_states", (_ANY, _ANY, text_width))
    inputs = [sample, timestep, text]
    facts = [(_wave(timestep), 2), (_over_tokens(text), text_width)]
    if size_facts:
        embeds, ids = _input("text_embeds", (_ANY, WIDTH)), _input("time_ids", (_ANY, 6))
        inputs += [embeds, ids]
        facts += [(embeds, WIDTH), (ops.multiply(ids, ops.constant(np.float32(0.001))), 6)]
    if guidance:
        condition = _input("timestep_cond", (_ANY, guidance))
        inputs.append(condition)
        facts.append((condition, guidance))
    wide = _influence(latent_channels, weights, facts)
    skipped = _convolution(sample, weights(latent_channels, in_channels, 3, 3, scale=0.2))
    halved = _convolution(skipped, weights(latent_channels, latent_channels, 3, 3, scale=0.2), stride=2)
    changed = ops.tanh(ops.add(halved, ops.unsqueeze(wide, _ints(2, 3))))
    both = ops.concat([_enlarged(changed, 2), skipped], 1)
    return _model(
        [("out_sample", _convolution(both, weights(latent_channels, 2 * latent_channels, 3, 3, scale=0.2)))], inputs
    )


def patch_transformer(
    place: str, latent_channels: int, *, text_width: int, pooled_width: int = 0, position: int = 0
) -> openvino.Model:
    """SD3Transformer2DModel or ZImageTransformer2DModel: takes latents in patches of 2x2.

    Args:
        place: gives the weights.
        latent_channels: of its input and output.
        text_width: length of the text encoders' embedding.
        pooled_width: length of ``pooled_projections``; 0 for none.
        position: length of ``txt_ids`` and ``img_ids``, which come with a mask of the text, as in Z-Image; 0 for none.
    """
    weights = _Weights(place)
    hidden = _input("hidden_states", (_ANY, latent_channels, _ANY, _ANY))
    timestep = _input("timestep", (_ANY,))
    text = _input("encoder_hidden_states", (_ANY, _ANY, text_width))
    inputs = [hidden, timestep, text]
    facts = [(_wave(timestep), 2), (_over_tokens(text), text_width)]
    if pooled_width:
        pooled = _input("pooled_projections", (_ANY, pooled_width))
        inputs.append(pooled)
        facts.append((pooled, pooled_width))
    if position:
        mask = _input("encoder_attention_mask", (_ANY, _ANY))
        ids = [_input(name, (_ANY, _ANY, position), np.int32) for name in ("txt_ids", "img_ids")]
        inputs += [mask, *ids]
        facts.append((ops.reduce_mean(ops.exp(mask), _ints(1), keep_dims=True), 1))
        facts += [(_over_tokens(ops.sin(ops.convert(each, np.float32))), position) for each in ids]
    channels = latent_channels * _IMAGE_PER_PATCH
    patches = ops.convolution(
        hidden, weights(channels, latent_channels, 2, 2, scale=0.2), [2, 2], [0, 0], [0, 0], [1, 1]
    )
    changed = ops.tanh(ops.add(patches, ops.unsqueeze(_influence(channels, weights, facts), _ints(2, 3))))
    return _model([("out_hidden_states", ops.depth_to_space(changed, "blocks_first", 2))], inputs)


def sequence_transformer(
    place: str,
    out_channels: int,
    *,
    in_channels: int,
    text_width: int,
    position: int = 0,
    batched_positions: bool = False,
    pooled_width: int = 0,
    guidance: bool = False,
    sides: bool = False,
) -> openvino.Model:
    """A transformer that gets patches of latents as a sequence: FLUX, FLUX.2 or Qwen-Image.

    Args:
        place: gives the weights.
        out_channels: of each patch.
        in_channels: of each patch; more than ``out_channels`` for FLUX Fill.
        text_width: length of the text encoder's embedding.
        position: length of ``txt_ids`` and ``img_ids``; 0 for none.
        batched_positions: whether those are given for each picture, as in FLUX.2, or once.
        pooled_width: length of ``pooled_projections``; 0 for none.
        guidance: take ``guidance``.
        sides: take ``height`` and ``width``, in patches, and a mask of the text, as Qwen-Image does.
    """
    weights = _Weights(place)
    hidden = _input("hidden_states", (_ANY, _ANY, in_channels))
    timestep = _input("timestep", (_ANY,))
    text = _input("encoder_hidden_states", (_ANY, _ANY, text_width))
    inputs = [hidden, timestep, text]
    facts = [(_wave(timestep), 2), (_over_tokens(text), text_width), (_over_tokens(hidden), in_channels)]
    moved = _times(hidden, weights(in_channels, out_channels, scale=0.2))
    if pooled_width:
        pooled = _input("pooled_projections", (_ANY, pooled_width))
        inputs.append(pooled)
        facts.append((pooled, pooled_width))
    if guidance:
        scale = _input("guidance", (_ANY,))
        inputs.append(scale)
        facts.append((_wave(scale), 2))
    if position:
        shape = (_ANY, _ANY, position) if batched_positions else (_ANY, position)
        ids = [_input(name, shape) for name in ("txt_ids", "img_ids")]
        inputs += ids
        text_ids, image_ids = ids if batched_positions else (ops.unsqueeze(each, _ints(0)) for each in ids)
        facts.append((_over_tokens(ops.sin(text_ids)), position))
        moved = ops.add(moved, _times(ops.sin(image_ids), weights(position, out_channels)))
    if sides:
        mask = _input("encoder_hidden_states_mask", (_ANY, _ANY), np.int64)
        lengths = [_input(name, (), np.int64) for name in ("height", "width")]
        inputs += [mask, *lengths]
        facts.append((ops.reduce_mean(ops.convert(mask, np.float32), _ints(1), keep_dims=True), 1))
        facts += [(_wave(ops.unsqueeze(length, _ints(0))), 2) for length in lengths]
    changed = ops.tanh(ops.add(moved, ops.unsqueeze(_influence(out_channels, weights, facts), _ints(1))))
    return _model([("out_hidden_states", changed)], inputs)


Network = Callable[[str], openvino.Model]
"""Makes a sub-model for a place, which gives its weights."""
