"""Checks of the networks: the same weights and inputs give the original's outputs."""

import math

import torch

from ldm.modules.attention import Attention, AttentionBlock, SpatialTransformer
from ldm.modules.autoencoder import AttnBlock, AutoencoderKL, DiagonalGaussian, ResnetBlock
from ldm.modules.layers import timestep_embedding
from ldm.modules.text import BERTTextEncoder
from ldm.modules.unet import UNet
from ldm.modules.unet_blocks import ResBlock
from ldm.modules.vq import VQModel
from tests.parity.case import Case, recorded


def unet_of(ctor: dict) -> UNet:
    """Our UNet for the arguments of the original's constructor."""
    has_text = ctor.get("use_spatial_transformer", False)
    return UNet(
        in_channels=ctor["in_channels"],
        out_channels=ctor["out_channels"],
        model_channels=ctor["model_channels"],
        channel_mult=ctor["channel_mult"],
        num_res_blocks=ctor["num_res_blocks"],
        attention_levels=[int(math.log2(factor)) for factor in ctor["attention_resolutions"]],
        num_heads=ctor.get("num_heads"),
        head_channels=ctor.get("num_head_channels"),
        context_dim=ctor["context_dim"] if has_text else None,
        transformer_depth=ctor.get("transformer_depth", 1),
        num_classes=ctor.get("num_classes"),
        scale_shift=ctor.get("use_scale_shift_norm", False),
        conv_resample=ctor.get("conv_resample", True),
        resblock_updown=ctor.get("resblock_updown", False),
    )


def unet(case: Case) -> None:
    model = case.loaded(unet_of(case.ctor)).double()
    inner = recorded(
        {"time_embed": model.time_embed, "input_block_1": model.input_blocks[1], "middle_block": model.middle_block}
    )
    x, t = case.double("x"), case.input("timesteps")
    c = case.double("context") if case.has_input("context") else None
    y = case.input("y") if case.has_input("y") else None
    case.check(out=model(x, t, c, y), **inner)
    if "out_context_none" in case.outputs:
        case.check(out_context_none=model(x, t))


def _twice(case: Case, block: torch.nn.Module, *others: torch.Tensor) -> None:
    """An ordinary input, and one so small that the epsilon of the normalisation matters."""
    case.loaded(block)
    case.check(out=block(case.input("x"), *others), out_small=block(case.input("x_small"), *others))


def attention_block(case: Case) -> None:
    channels = case.ctor["channels"]
    heads = case.ctor.get("num_heads") or channels // case.ctor["num_head_channels"]
    _twice(case, AttentionBlock(channels, heads, qkv_first=case.ctor.get("use_new_attention_order", False)))


def spatial_transformer(case: Case) -> None:
    ctor = case.ctor
    block = SpatialTransformer(ctor["in_channels"], ctor["n_heads"], ctor["d_head"], ctor["depth"], ctor["context_dim"])
    _twice(case, block, case.input("context"))


def resblock(case: Case) -> None:
    channels = case.ctor["channels"]
    block = ResBlock(channels, channels, case.ctor["emb_channels"], scale_shift=case.ctor["use_scale_shift_norm"])
    _twice(case, block, case.input("emb"))


def vae_resnet_block(case: Case) -> None:
    _twice(case, ResnetBlock(case.ctor["in_channels"], case.ctor["in_channels"]))


def vae_attn_block(case: Case) -> None:
    _twice(case, AttnBlock(case.ctor["in_channels"]))


def cross_attention(case: Case) -> None:
    ctor = case.ctor
    layer = case.loaded(Attention(ctor["query_dim"], ctor["heads"], ctor["dim_head"], ctor["context_dim"]))
    x, context = case.input("x"), case.input("context")
    case.check(out=layer(x, context), out_masked=layer(x, context, case.input("mask").bool()))


def autoencoder_of(ctor: dict) -> AutoencoderKL:
    body = ctor["ddconfig"]
    return AutoencoderKL(
        channels=body["ch"],
        channel_mult=body["ch_mult"],
        num_res_blocks=body["num_res_blocks"],
        z_channels=body["z_channels"],
        embed_dim=ctor["embed_dim"],
    )


def autoencoder_kl(case: Case) -> None:
    model, x = case.loaded(autoencoder_of(case.ctor)).double(), case.double("image")
    moments = recorded({"encoder_out": model.encoder, "moments": model.quant_conv})
    posterior = model.encode(x)
    z = posterior.at(case.input("noise"))
    case.check(**moments, mean=posterior.mean, mode=posterior.mean, logvar=posterior.logvar, std=posterior.std)
    case.check(var=posterior.std.square(), kl=posterior.kl(), sample=z, nll_of_sample=posterior.nll(z))
    case.check(decode_of_z=model.decode(case.double("z")), reconstruction_mode=model.decode(posterior.mean.double()))
    wild = DiagonalGaussian.from_moments(case.input("wild_moments"))
    case.check(wild_kl=wild.kl(), wild_logvar=wild.logvar, wild_std=wild.std)


def vq_model(case: Case) -> None:
    body, codebook_size = case.ctor["ddconfig"], case.ctor["n_embed"]
    model = VQModel(
        channels=body["ch"],
        channel_mult=body["ch_mult"],
        num_res_blocks=body["num_res_blocks"],
        attention_levels=(0,),  # 16, which is the resolution
        z_channels=body["z_channels"],
        embed_dim=case.ctor["embed_dim"],
        codebook_size=codebook_size,
    )
    case.loaded(model)
    z, h = model.encode(case.input("image")).mean, case.input("h")
    z_q, loss = model.quantize(z)
    indices = model.quantize.nearest(z)
    case.check(prequant=z, interface_encode=z, quant=z_q, emb_loss=loss, indices=indices.flatten())
    case.check(decode_of_quant=model.decode_entries(z_q), forward_dec=model.decode(z))
    case.check(codebook_entry=model.quantize.entries(indices), quantized_h=model.quantize(h)[0])
    case.check(interface_decode=model.decode(h), interface_decode_not_quantized=model.decode_entries(h))


def text_encoder_of(bert: dict) -> BERTTextEncoder:
    return BERTTextEncoder("no vocabulary", bert["vocab_size"], bert["n_embed"], bert["n_layer"], bert["max_seq_len"])


def bert(case: Case) -> None:
    model, ids = text_encoder_of(case.ctor), case.input("ids")
    case.loaded(model.transformer)
    c = model.eval().encode(model.embed(ids))
    case.check(embeddings=c, logits_first_item=model.transformer["to_logits"](c[:1]))


def timestep_embeddings(case: Case) -> None:
    """But for "repeat_only", which repeats t, and the sines-first convention, which no model of the paper uses."""
    t, max_period = case.input("t"), case.ctor["max_period"]
    rounding = float(t.max()) * 2.0**-24  # exp() differs in the last place between processors, and t multiplies that
    for dim in case.ctor["dims"]:
        case.check(
            tolerance=rounding,
            **{
                f"dim_{dim}": timestep_embedding(t, dim),
                f"dim_{dim}_fractional": timestep_embedding(case.input("t_fractional"), dim),
                f"dim_{dim}_max_period_{max_period}": timestep_embedding(t, dim, max_period),
            },
        )
