"""The same weights give the same outputs in diffusers and here, in both directions."""

import json
import warnings

import pytest
import torch
from transformers import BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ldm.latent_diffusion import LatentDiffusion
from ldm.modules.autoencoder import AutoencoderKL
from ldm.modules.clip_text import CLIPTextEncoder
from ldm.modules.layers import nonzero_init
from ldm.modules.text import BERTTextEncoder
from ldm.modules.unet import UNet
from ldm.sampling import ddim, guided, published_timesteps
from ldm.weights.checkpoint import load_weights
from ldm.weights.diffusers_layout import diffusers_parts, write_diffusers
from ldm.weights.diffusers_pipeline import save_pipeline

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers warns about its own code
    from diffusers import AutoencoderKL as TheirAutoencoder
    from diffusers import DDIMScheduler, LDMTextToImagePipeline, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers", "ignore::DeprecationWarning:diffusers")

WORDS = "a photo of the cat dog moon on beach * in".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH, TOKENS = 32, 77


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(SPECIAL + WORDS), encoding="utf-8")
    return path


def our_model(vocabulary, clip: int = 0, per_level: int = 2) -> LatentDiffusion:
    """Build a model with the BERT-style text encoder, or with CLIP and the given number of tokens."""
    torch.manual_seed(0)
    unet = UNet(4, 4, 32, (1, 2, 2), per_level, (0, 1), num_heads=4, context_dim=WIDTH, sample_size=8, groups=8)
    first_stage = AutoencoderKL(channels=16, channel_mult=(1, 2, 2, 2), num_res_blocks=per_level, groups=8)
    if clip:
        text = CLIPTextEncoder(vocabulary, clip, WIDTH, 2, 4, 64, TOKENS)
    else:
        text = BERTTextEncoder(vocabulary, len(SPECIAL + WORDS), WIDTH, 2, TOKENS, 4, 16)
    return nonzero_init(LatentDiffusion(unet, first_stage, text)).eval()


def their_unet(per_level: int = 2) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64, 64),
        layers_per_block=per_level,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        norm_num_groups=8,
    ).eval()


def their_autoencoder(per_level: int = 2) -> TheirAutoencoder:
    return TheirAutoencoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 32, 32),
        layers_per_block=per_level,
        latent_channels=4,
        norm_num_groups=8,
    ).eval()


def their_bert() -> LDMBertModel:
    config = LDMBertConfig(
        vocab_size=len(SPECIAL + WORDS),
        encoder_layers=2,
        encoder_ffn_dim=4 * WIDTH,
        encoder_attention_heads=4,
        head_dim=16,
        d_model=WIDTH,
    )
    return LDMBertModel(config).eval()


def their_clip(size: int = 50) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    return CLIPTextModel(config).eval()


def filled(module, tensors):
    """Load strictly; transformers 5 omits the prefix of CLIP's tensors."""
    own = module.state_dict()
    if not next(iter(own)).startswith("text_model.") and next(iter(tensors)).startswith("text_model."):
        tensors = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    module.load_state_dict(tensors)
    return module


@pytest.mark.parametrize("per_level", [1, 2])
@torch.no_grad()
def test_each_part_computes_the_same_there(vocabulary, per_level):
    ours = our_model(vocabulary, per_level=per_level)
    parts = diffusers_parts(ours.state_dict())
    z, x, c = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 64, 64), torch.randn(2, TOKENS, WIDTH)
    t = torch.tensor([3, 977])
    eps = filled(their_unet(per_level), parts["unet"])(z, t, c).sample
    torch.testing.assert_close(ours.unet(z, t, c), eps, atol=1e-5, rtol=1e-5)
    autoencoder = filled(their_autoencoder(per_level), parts["vqvae"])
    moments = autoencoder.encode(x).latent_dist
    posterior = ours.first_stage_model.encode(x)
    torch.testing.assert_close(posterior.mean, moments.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(posterior.std, moments.std, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.first_stage_model.decode(z), autoencoder.decode(z).sample, atol=1e-5, rtol=1e-5)
    ids = ours.cond_stage_model.tokenize(["a photo of the cat on the moon", ""])
    hidden = filled(their_bert(), parts["bert"])(ids)[0]
    torch.testing.assert_close(
        ours.cond_stage_model.encode(ours.cond_stage_model.embed(ids)), hidden, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_clip_computes_the_same_there():
    ours = our_model(None, clip=50)
    clip = filled(their_clip(), diffusers_parts(ours.state_dict())["text_encoder"])
    ids = torch.randint(48, (2, TOKENS))
    text = ours.cond_stage_model
    torch.testing.assert_close(text.encode(text.embed(ids)), clip(ids).last_hidden_state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("clip", [0, 50])
def test_a_folder_gives_back_what_was_written(tmp_path, vocabulary, clip):
    ours = our_model(vocabulary, clip)
    write_diffusers(tmp_path / "pipeline", ours.state_dict())
    (tmp_path / "pipeline" / "model_index.json").write_text(json.dumps({"_class_name": "a pipeline"}))
    other = nonzero_init(our_model(vocabulary, clip)).requires_grad_(False)
    for value in other.parameters():
        value.zero_()
    load_weights(other, tmp_path / "pipeline")
    for name, value in ours.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def their_schedule() -> DDIMScheduler:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def check_five_guided_steps(pipeline, folder, ours: LatentDiffusion, prompt: str) -> None:
    """From text to pixels: our model generates the same images as the pipeline, from the files of the pipeline."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    load_weights(ours, folder)
    z_T = torch.randn(1, 4, 8, 8)
    theirs = pipeline([prompt], num_inference_steps=5, guidance_scale=5.0, latents=z_T, output_type="np").images
    c, empty = ours.cond_stage_model([prompt]), ours.cond_stage_model([""])
    z_0 = ddim(guided(ours.unet, c, empty, 5.0), z_T, ours.alpha_bar, published_timesteps(5, 1000))
    x = (ours.decode_first_stage(z_0) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(x, torch.from_numpy(theirs), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_text_to_image_pipeline_generates_the_same_picture_here(tmp_path, vocabulary):
    torch.manual_seed(1)
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(SPECIAL + WORDS)})
    parts = {"vqvae": their_autoencoder(), "bert": their_bert(), "unet": their_unet(), "scheduler": their_schedule()}
    pipeline = LDMTextToImagePipeline(**parts, tokenizer=tokenizer)
    check_five_guided_steps(pipeline, tmp_path / "p", our_model(vocabulary), "a photo of the cat on the moon")


@torch.no_grad()
def test_a_stable_diffusion_pipeline_generates_the_same_picture_here(tmp_path, clip_vocabulary):
    torch.manual_seed(1)
    tokenizer = CLIPTokenizer.from_pretrained(str(clip_vocabulary), model_max_length=TOKENS)
    size = len(tokenizer)
    parts = {"vae": their_autoencoder(), "text_encoder": their_clip(size), "unet": their_unet()}
    pipeline = StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=their_schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    ours = our_model(clip_vocabulary, clip=size)
    check_five_guided_steps(pipeline, tmp_path / "p", ours, "a photo of the cat on the moon")


@pytest.mark.parametrize("clip", [False, True])
@torch.no_grad()
def test_a_pipeline_saved_here_generates_the_same_picture_in_diffusers(tmp_path, vocabulary, clip_vocabulary, clip):
    size = len(CLIPTokenizer.from_pretrained(str(clip_vocabulary))) if clip else 0
    ours = our_model(clip_vocabulary if clip else vocabulary, clip=size)
    save_pipeline(tmp_path / "ours", ours)
    pipeline = (StableDiffusionPipeline if clip else LDMTextToImagePipeline).from_pretrained(tmp_path / "ours")
    other = our_model(clip_vocabulary if clip else vocabulary, clip=size)
    check_five_guided_steps(pipeline, tmp_path / "theirs", other, "a photo of the cat on the moon")
    for name, value in ours.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    with pytest.raises(ValueError, match="already exists"):
        save_pipeline(tmp_path / "ours", ours)


def test_a_model_that_no_pipeline_can_run_is_refused(tmp_path, build_ldm):
    with pytest.raises(ValueError, match="77 tokens"):
        save_pipeline(tmp_path / "ours", build_ldm())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [("unet", "has no folder unet"), ("bert", "has no folder bert or text_encoder"), ("vqvae", "vae or vqvae")],
)
def test_an_incomplete_download_is_named(tmp_path, vocabulary, lost, sentence):
    folder = tmp_path / "pipeline"
    write_diffusers(folder, our_model(vocabulary).state_dict())
    (folder / "model_index.json").write_text("{}")
    (folder / lost).rename(folder / f"{lost}.lost")
    with pytest.raises(ValueError, match=sentence):
        load_weights(our_model(vocabulary), folder)
    (folder / lost).mkdir()
    with pytest.raises(ValueError, match=f"{lost} has no diffusion_pytorch_model or model or pytorch_model"):
        load_weights(our_model(vocabulary), folder)
