"""Names of metrics: each says its kind, number of images, extractor and resizing."""

import pytest

from ganjax.errors import UserError
from ganjax.metrics.protocols import Protocol, Statistic, parse, statistics


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("fid50k_full", ("frechet", 50_000, True, "inception", "tf1")),
        ("fid10k", ("frechet", 10_000, False, "inception", "tf1")),
        ("fid10k_clean", ("frechet", 10_000, False, "inception", "clean")),
        ("fid50k_full_clean", ("frechet", 50_000, True, "inception", "clean")),
        ("fid1234_pytorch", ("frechet", 1234, False, "inception", "pytorch")),
        ("kid50k", ("kernel", 50_000, False, "inception", "tf1")),
        ("is50k", ("inception_score", 50_000, False, "inception", "tf1")),
        ("pr10k", ("precision_recall", 10_000, False, "vgg16_fc2", "")),
        ("dc10k", ("density_coverage", 10_000, False, "vgg16_fc2", "")),
        ("frechet106_vgg16", ("frechet", 106, False, "vgg16", "")),
        ("frechet5k_tiny_darknet", ("frechet", 5000, False, "tiny_darknet", "")),
        ("kernel5k_full_tiny_darknet", ("kernel", 5000, True, "tiny_darknet", "")),
        ("precision_recall64_avatars", ("precision_recall", 64, False, "avatars", "")),
        ("density_coverage5k_vgg16", ("density_coverage", 5000, False, "vgg16", "")),
        ("attributes5k_avatars", ("attributes", 5000, False, "avatars", "")),
        ("swd8k", ("sliced_wasserstein", 8000, False, "", "")),
        ("psnr", ("psnr", 0, False, "", "")),
        ("ms_ssim", ("ms_ssim", 0, False, "", "")),
        ("psnr_y4", ("psnr", 0, False, "y4", "")),
        ("ssim_y", ("ssim", 0, False, "y", "")),
        ("lpips_vgg", ("lpips", 0, False, "vgg16", "")),
        ("lpips_alex", ("lpips", 0, False, "alexnet", "")),
        ("style_loss_vgg19", ("style_loss", 0, False, "vgg19", "")),
        ("gram_distance_vgg19_16x", ("gram_distance", 0, False, "vgg19_16x", "")),
        ("style_loss_vgg16", ("style_loss", 0, False, "vgg16", "")),
    ],
)
def test_a_name_is_its_protocol(name, fields):
    assert parse(name) == (Protocol(name, *fields),)


def test_several_names_keep_their_order_and_come_once():
    names = [p.name for p in parse(" kid10k, fid10k,kid10k,,psnr ")]
    assert names == ["kid10k", "fid10k", "psnr"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fd10k", "did you mean fid10k"),
        ("frechet7k_darknet", "did you mean frechet7k_tiny_darknet"),
        ("frechet5k_avatar", "did you mean frechet5k_avatars"),
        ("ms_sim", "did you mean ms_ssim"),
        ("lpips_alexnet", "did you mean lpips_alex"),
        ("style_vgg19", "did you mean style_loss_vgg19"),
        ("fid", "did you mean fid5k"),
        ("fid5k_tiny_darknet", "unknown"),  # never FID on other features
        ("frechet5k_inception", "unknown"),  # which has a name of its own
        ("pr10k_clean", "unknown"),
        ("frechet5k_vgg16_fc2", "did you mean frechet5k_vgg16"),  # the published pr and dc alone
        ("swd8k_avatars", "unknown"),
        ("attributes5k_vgg16", "unknown"),
        ("fid0k", "unknown"),
        ("fid10K", "unknown"),
        ("zzz", "there is fid5k_full, fid5k"),
        ("is10k_full", "uses no reference"),
        ("swd8k_full", "leave _full out"),
        ("kid1", "give 2 or more"),
        ("fid1", "give 2 or more"),
        ("pr3", "give 4 or more"),
        (" , ", "no metric is named"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest(name, message):
    with pytest.raises(UserError) as error:
        parse(name)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_each_side_needs_what_the_name_says():
    def needs(name):
        return statistics(parse(name)[0], whole=123)

    moments = Statistic("moments", "inception", "tf1", 10_000)
    assert needs("fid10k") == (moments, moments)
    assert needs("fid10k_full") == (moments, moments._replace(size=123, whole=True))
    assert needs("is10k") == (moments._replace(what="logits"), None)
    assert needs("pr10k")[1] == Statistic("features", "vgg16_fc2", "", 10_000)
    assert needs("swd8k") == (Statistic("patches", "", "", 8000),) * 2


def test_only_distances_are_better_when_low():
    low = [p.name for p in parse("fid5k,kid5k,swd5k,is5k,pr5k,dc5k,psnr") if p.lower_is_better]
    assert low == ["fid5k", "kid5k", "swd5k"]
