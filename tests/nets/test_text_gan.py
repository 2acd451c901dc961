"""The text encoder and DF-GAN: PyTorch (tests/goldens/text_gan_torch.py), sizes, their start."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import losses
from ganjax.errors import UserError
from ganjax.nets.text_gan import (
    Discriminator,
    Generator,
    ImageEncoder,
    TextEncoder,
    _Affine,
    _Down,
    seed_and_widths,
)
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import text_gan_setup as setup  # noqa: E402
from dcgan_setup import summarize  # noqa: E402

SIZE = (setup.SIDE, setup.SIDE)


def drawn_params(role, module, *inputs):
    like = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    leaves = [setup.draw(f"{role}/{key}", x.shape) for key, x in named_leaves(like).items()]
    return jax.tree.unflatten(jax.tree.structure(like), map(jnp.asarray, leaves))


def check_gradients(role, gradients, golden):
    wanted = {key for key in golden if key.startswith(f"{role}/") and not key.endswith("/images")}
    found = {f"{role}/{key}": value for key, value in named_leaves(gradients).items()}
    assert found.keys() == wanted
    for key, value in found.items():
        got = summarize(np.asarray(value))
        np.testing.assert_allclose(got, golden[key], rtol=1e-7, atol=1e-11, err_msg=key)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "text_gan_torch.npz") as file:
        return dict(file)


def test_the_text_encoder_is_pytorchs_gru_over_packed_sequences(golden):
    with jax.enable_x64(True):
        tokens = jnp.asarray(setup.draw_inputs()["tokens"])
        encoder = TextEncoder(setup.WORDS, setup.SENTENCE, setup.WORD_SIZE, jnp.float64)
        params = drawn_params("encoder", encoder, tokens)
        apply = jax.jit(lambda tokens: encoder.apply({"params": params}, tokens))
        sentences, words = apply(tokens)
        np.testing.assert_allclose(words, golden["encoder/words"], atol=1e-12)
        np.testing.assert_allclose(sentences, golden["encoder/sentences"], rtol=1e-9)
        nothing, _ = apply(jnp.zeros_like(tokens))  # a text without a known word
        np.testing.assert_array_equal(nothing, 0)


@pytest.mark.slow
def test_the_generator_and_its_gradients_are_pytorchs(golden):
    with jax.enable_x64(True):
        inputs = {name: jnp.asarray(value) for name, value in setup.draw_inputs().items()}
        generator = Generator(SIZE, 3, setup.WIDTH, jnp.float64)
        given = inputs["z"], inputs["sentences"]
        params = drawn_params("generator", generator, *given)

        def loss(params):
            images = generator.apply({"params": params}, *given)
            return jnp.sum(images * inputs["weights"]), images

        (_, images), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        np.testing.assert_allclose(images[:, ::4, ::4], golden["generator/images"], atol=1e-12)
        check_gradients("generator", gradients, golden)


@pytest.mark.slow
def test_the_discriminators_loss_with_ma_gp_and_its_gradients_are_pytorchs(golden):
    with jax.enable_x64(True):
        inputs = {name: jnp.asarray(value) for name, value in setup.draw_inputs().items()}
        discriminator = Discriminator(SIZE, 3, setup.WIDTH, jnp.float64)
        real, sentences = inputs["real"], inputs["sentences"]
        params = drawn_params("discriminator", discriminator, real, sentences)

        def loss(params):
            def judge(images, sentences):
                return discriminator.apply({"params": params}, images, sentences)

            matching, squares, _ = losses.squared_slopes(
                lambda pair: (judge(*pair), None), (real, sentences)
            )
            others = judge(real, jnp.roll(sentences, 1, axis=0))
            fakes = judge(inputs["fake"], sentences)
            penalty = jnp.mean(squares ** (setup.PENALTY_POWER / 2))
            hinge = losses.HINGE
            values = hinge.real(matching) + (hinge.fake(fakes) + hinge.fake(others)) / 2
            logits = {"matching": matching, "others": others, "fakes": fakes}
            return jnp.mean(values) + setup.PENALTY_WEIGHT * penalty, (penalty, logits)

        (value, (penalty, logits)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            params
        )
        np.testing.assert_allclose(value, golden["loss"], rtol=1e-9)
        np.testing.assert_allclose(penalty, golden["penalty"], rtol=1e-9)
        for name, values in logits.items():
            np.testing.assert_allclose(values, golden[f"logits/{name}"], rtol=1e-9, atol=1e-12)
        check_gradients("discriminator", gradients, golden)


def count(module, *inputs):
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return sum(x.size for x in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    ("side", "widths", "generator", "discriminator"),
    [(64, (256, 256, 128, 64, 32), 4_868_867, 3_440_964),
     (256, (256, 256, 256, 256, 128, 64, 32), 9_744_131, 6_717_766)],
)  # fmt: skip
def test_parameters_at_the_published_width(side, widths, generator, discriminator):
    """Counted a second time here, layer by layer."""
    assert seed_and_widths((side, side), 32) == ((4, 4), widths)
    z, sentence, pairs = 100, 256, list(zip(widths[:-1], widths[1:], strict=True))
    linear = lambda a, b: (a + 1) * b  # noqa: E731
    fusion = lambda c: 4 * (linear(z + sentence, c) + linear(c, c))  # noqa: E731
    g = linear(z, 16 * widths[0]) + linear(9 * widths[-1], 3)
    d = linear(9 * 3, widths[-1]) + 9 * (widths[0] + sentence) * 64 + 16 * 64
    for a, b in pairs:
        shortcut = linear(a, b) if a != b else 0
        g += fusion(a) + linear(9 * a, b) + fusion(b) + linear(9 * b, b) + shortcut
        d += 16 * b * a + 9 * a * a + 1 + (linear(b, a) if a != b else 0)
    vectors = jnp.zeros((1, z)), jnp.zeros((1, sentence))
    images = jnp.zeros((1, side, side, 3))
    assert count(Generator((side, side)), *vectors) == g == generator
    assert count(Discriminator((side, side)), images, vectors[1]) == d == discriminator


def test_at_the_start_sentences_change_nothing_and_blocks_are_their_shortcuts():
    x, key = jax.random.normal(jax.random.key(1), (2, 4, 4, 3)), jax.random.key(0)
    y, _ = _Affine(jnp.float32).init_with_output(key, x, jnp.eye(2, 6))
    np.testing.assert_array_equal(y, x)
    y, _ = _Down(3, jnp.float32).init_with_output(key, x)
    np.testing.assert_allclose(y, x.reshape(2, 2, 2, 2, 2, 3).mean((2, 4)), atol=1e-6)


def test_shapes_and_dtypes():
    key, size = jax.random.key(0), (48, 32)
    z, sentences, tokens = jnp.zeros((2, 4)), jnp.zeros((2, 6)), jnp.ones((2, 5), int)
    fields = {"image_size": size, "channels": 1, "width": 2, "dtype": jnp.bfloat16}
    images, g = jax.eval_shape(Generator(**fields).init_with_output, key, z, sentences)
    logits, d = jax.eval_shape(Discriminator(**fields).init_with_output, key, images, sentences)
    assert images.shape == (2, *size, 1) and logits.shape == (2,)
    (sentence, words), t = jax.eval_shape(TextEncoder(9, 6, 4).init_with_output, key, tokens)
    vectors, i = jax.eval_shape(ImageEncoder(size, 6, 4).init_with_output, key, images)
    assert sentence.shape == vectors.shape == (2, 6) and words.shape == (2, 5, 6)
    assert {x.dtype for x in jax.tree.leaves([images, logits, g, d, t, i])} == {
        jnp.dtype(jnp.float32)
    }
    with pytest.raises(ValueError, match="images are"):
        Discriminator(**fields).init(key, jnp.zeros((2, 32, 48, 1)), sentences)


@pytest.mark.parametrize(("size", "width"), [((33, 32), 2), ((16, 16), 2), ((64, 64), 0)])
def test_impossible_networks_are_refused(size, width):
    with pytest.raises(UserError, match="choose 32x32|model.width is 0"):
        seed_and_widths(size, width)
