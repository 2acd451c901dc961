"""Whether a text model draws what sentences say, and changes what another sentence says.

    python -m benchmarks.text --weights portraits_text --num 500

Sentences are those of portraits of the test split. The classifier of avatars in the package tells
what is seen: the share of the mentioned attributes that are right, beside the real portraits. Then
one attribute of each portrait is another one, and so is its sentence, with the same z: how often
the change is seen, and how many of the other attributes stay. Of the folder of a run, which has the
image encoder too, there is the R-precision: how often an image finds its sentence among 100.
"""

import argparse
from pathlib import Path

import numpy as np

from ganjax.commands.terminal import start_jax

EDITS = (
    "hair_color=blue", "hair_color=blond", "hair=long", "skin=deep", "skin=porcelain",
    "background=mint", "glasses=round", "clothes_color=teal", "expression=laugh", "hat=beret",
)  # fmt: skip
RIVALS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="a run, a file, or a model in the package")
    parser.add_argument("--num", type=int, default=500, help="sentences")
    arguments = parser.parse_args()
    start_jax()
    from benchmarks.portraits import load_reader
    from ganjax import Generator
    from ganjax.data.avatars import ATTRIBUTES, captions
    from ganjax.data.avatars.source import open_avatars
    from ganjax.metrics import attributes

    generator, seen, names = Generator.load(arguments.weights), load_reader(), list(ATTRIBUTES)
    source, indices = open_avatars("", split="test"), list(range(arguments.num))
    sentences = [several[0] for several in source.captions(indices)]
    mentioned = np.stack([captions.mentioned(sentence) for sentence in sentences])
    drawn = generator.sample(arguments.num, text=sentences)
    real, _ = source.load(indices, drawn.shape[1:3], 3)
    before = seen(drawn)
    scores = [
        attributes.accuracy(found, mentioned, ATTRIBUTES) for found in (before, seen(real["image"]))
    ]
    print(f"{arguments.num} sentences, e.g. {sentences[0]!r}")
    print("| attribute | mentioned | drawn right | real portraits |\n| --- | --- | --- | --- |")
    for number, name in enumerate(names):
        if name in scores[0]:
            count = int((mentioned[:, number] >= 0).sum())
            print(f"| {name} | {count} | {scores[0][name]:.3f} | {scores[1][name]:.3f} |")
    means = [np.mean(list(score.values())) for score in scores]
    print(f"| mean | {int((mentioned >= 0).sum())} | {means[0]:.3f} | {means[1]:.3f} |\n")
    if Path(arguments.weights).is_dir():
        precisions = r_precision(Path(arguments.weights), sentences, [drawn, real["image"]])
        print(
            "R-precision of {}: drawn {:.3f}, real portraits {:.3f}\n".format(RIVALS, *precisions)
        )

    print("| another sentence says | before | after | others kept |\n| --- | --- | --- | --- |")
    truth = source.attributes(indices)
    first_told = captions.describe(truth, indices)
    for edit in EDITS:
        name, _, value = edit.partition("=")
        column, wanted = names.index(name), ATTRIBUTES[name].index(value)
        changed = truth.copy()
        changed[:, column] = wanted
        told = captions.describe(changed, indices)
        says = np.stack([captions.mentioned(sentence) for sentence in told])
        rows = np.flatnonzero(says[:, column] == wanted)
        first, second = (
            seen(generator.sample(len(rows), text=[texts[row] for row in rows]))
            for texts in (first_told, told)
        )
        others = (np.arange(len(names)) != column) & (first >= 0) & (second >= 0)
        shares = [np.mean(found[:, column] == wanted) for found in (first, second)]
        kept = (first == second)[others].mean()
        print(f"| `{edit}` | {shares[0]:.2f} | {shares[1]:.2f} | {kept:.2f} |")


def r_precision(folder: Path, sentences: list[str], sets: list[np.ndarray]) -> list[float]:
    """Of each set of images [N, H, W, 3], how many are nearest to their own sentence (Xu 2018).

    By the cosine of the vectors of the run's encoders, among `RIVALS` sentences: the image's own
    and others, the same for all sets.
    """
    import jax
    import jax.numpy as jnp

    from ganjax import runs, tasks, text
    from ganjax.images import to_float
    from ganjax.nets.text_gan import ImageEncoder, TextEncoder
    from ganjax.training.checkpoints import Checkpoints

    run = runs.load(folder)
    model, (*size, _) = run.config.model, sets[0].shape[1:]
    like = jax.eval_shape(tasks.make(run.config).init, jax.random.key(0))
    state = Checkpoints.read_only(folder / "checkpoints").load(run.step, like)
    known = run.model.inputs["label"]
    tokens = np.stack([text.encode(one, known.names, known.size) for one in sentences])
    encoder = TextEncoder(model.words, model.sentence_size, model.word_size)
    told, _ = encoder.apply(state.averages["encoder"], tokens)
    look = ImageEncoder(tuple(size), model.sentence_size, model.image_encoder_width)
    rng, count = np.random.default_rng(0), len(sentences)
    others = np.stack([rng.permutation(np.delete(np.arange(count), n)) for n in range(count)])
    rivals = np.concatenate([np.arange(count)[:, None], others[:, : RIVALS - 1]], axis=1)
    found = []
    for images in sets:
        seen = look.apply(state.networks["image_encoder"].variables, to_float(jnp.asarray(images)))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(np.asarray, (seen, told)))
        cosines = np.einsum("nd,nkd->nk", a, b[rivals])
        found.append(float((cosines.argmax(1) == 0).mean()))
    return found


if __name__ == "__main__":
    main()
