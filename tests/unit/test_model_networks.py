"""The networks: exact sizes, published order of operations against the fast one, every option, every shape."""

import pytest
import torch

import model
from dwplus.errors import InputError
from model.networks.complexity import parts, thop_macs
from model.networks.layers import Attention, MLPDecoder, count_parameters, kernels

#: facts/models.md 4.6, parameters of the released SpecSAR-Former.
LEDGER = {
    "embed_1": 25_280, "embed_2": 74_112, "embed_3": 369_600, "embed_4": 1_476_096,
    "blocks_1": 1_123_200, "blocks_2": 2_024_448, "blocks_3": 9_573_120, "blocks_4": 8_251_392,
    "mmam_1": 6_656, "mmam_2": 26_624, "mmam_3": 166_400, "mmam_4": 425_984,
    "norm_1": 128, "norm_2": 256, "norm_3": 640, "norm_4": 1_024,
    "decoder_c1": 49_920, "decoder_c2": 99_072, "decoder_c3": 246_528, "decoder_c4": 393_984,
    "fuse": 2_360_832, "classifier": 6_921,
}


def tiny(name="specsar_former", **options):
    torch.manual_seed(0)
    return model.build(name, **({} if name == "unet" else {"variant": "small"}), **options).eval()


def batch(h=64, w=64, s2=10, s1=2, n=1):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(n, s2, h, w, generator=generator), torch.randn(n, s1, h, w, generator=generator))


def test_the_published_network_part_by_part():
    with torch.device("meta"):  # shapes without numbers
        net = model.build("specsar_former", plain_decoder=True)
        assert parts(net) == LEDGER
        assert count_parameters(net) == sum(LEDGER.values()) == 26_702_217
        # models.md section 1: thop on two 12x512x512 images.
        assert thop_macs(net, torch.empty(2, 10, 512, 512), torch.empty(2, 2, 512, 512)) == 109_590_159_360
        assert thop_macs(net, torch.empty(1, 10, 510, 510), torch.empty(1, 2, 510, 510)) == 54_795_079_680


@pytest.mark.parametrize(("name", "options", "millions"), [
    ("specsar_former", {"variant": "b0"}, 3.693), ("specsar_former", {"variant": "b1"}, 13.554),
    ("specsar_former", {"variant": "b4"}, 62.233), ("specsar_former", {"mmam": False}, 26.077),
    ("specsar_former", {"cross_attention": False}, 19.731),
    ("specsar_former", {"cross_attention": False, "mmam": False}, 19.106),
    ("specsar_former", {"cross_query": "other"}, 26.702),
    ("segformer", {}, 27.382), ("segformer_s2", {}, 27.375), ("segformer_s1", {}, 27.350),
    ("segformer", {"variant": "b1"}, 13.708), ("segformer", {"variant": "b0"}, 3.731)])
def test_sizes_of_the_variants(name, options, millions):
    with torch.device("meta"):
        net = model.build(name, **options)
    assert round(count_parameters(net) / 1e6, 3) == millions


@pytest.mark.parametrize("name", sorted(model.NETWORKS))
@pytest.mark.parametrize("size", [(64, 64), (51, 83), (7, 9), (1, 1), (130, 33)])
def test_any_size_and_any_number_of_bands(name, size):
    net = tiny(name, s2_bands=4, s1_bands=3)
    with torch.no_grad():
        logits = net(*batch(*size, 4, 3, n=2))
    assert logits.shape == (2, 9, *size) and torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["specsar_former", "segformer", "late_fusion"])
def test_fast_and_published_order_of_operations_agree(name):
    fast = tiny(name)
    plain = tiny(name, plain_attention=True, plain_decoder=True)
    plain.load_state_dict(fast.state_dict())
    inputs = batch(75, 100)
    with torch.no_grad():
        a, b = fast(*inputs), plain(*inputs)
    assert (a - b).abs().max() < 1e-5 * b.abs().max()


def test_gradients_of_fast_and_published_order_agree():
    torch.manual_seed(0)
    fast = MLPDecoder((8, 16), 12, 9, dropout=0.0)
    plain = MLPDecoder((8, 16), 12, 9, dropout=0.0, plain=True)
    plain.load_state_dict(fast.state_dict())
    maps = [torch.randn(2, 8, 8, 8), torch.randn(2, 4, 4, 16)]
    for net in (fast, plain):
        net(maps, (32, 32)).square().mean().backward()
    for p, q in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def test_attention_by_hand():
    torch.manual_seed(0)
    layer = Attention(4, 1, 1)
    x = torch.randn(1, 2, 3, 4)
    tokens = x.view(6, 4)
    q = layer.q(tokens)
    k, v = layer.kv(tokens).chunk(2, dim=-1)
    want = layer.proj(torch.softmax(q @ k.T / 2.0, dim=-1) @ v).view(1, 2, 3, 4)
    torch.testing.assert_close(layer(x), want)


def test_both_branches_matter_and_cross_query_changes_the_map():
    s2, s1 = batch()
    own, other = tiny(), tiny(cross_query="other")
    other.load_state_dict(own.state_dict())
    with torch.no_grad():
        base = own(s2, s1)
        assert not torch.allclose(base, own(s2, torch.zeros_like(s1)))
        assert not torch.allclose(base, own(torch.zeros_like(s2), s1))
        assert not torch.allclose(base, other(s2, s1))


def test_without_cross_attention_and_mmam_stage_one_branches_are_apart():
    net = tiny(cross_attention=False, mmam=False)
    s2, s1 = batch()
    seen = []
    net.stages[0].blocks[-1].register_forward_hook(lambda m, i, o: seen.append(o[0]))
    with torch.no_grad():
        net(s2, s1)
        net(s2, torch.zeros_like(s1))
    torch.testing.assert_close(seen[0], seen[1])


@pytest.mark.parametrize("name", ["segformer_s1", "segformer_s2"])
def test_single_sensor_networks_ignore_the_other(name):
    net = tiny(name)
    s2, s1 = batch()
    other = (torch.zeros_like(s2), s1) if name.endswith("s1") else (s2, torch.zeros_like(s1))
    with torch.no_grad():
        torch.testing.assert_close(net(s2, s1), net(*other))


def test_export_is_clean():
    net = tiny("segformer", plain_decoder=True)
    inputs = batch(64, 96)
    program = torch.export.export(net, inputs, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs), net(*inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.timeout(3600)  # tracing with free sizes: half a minute on an idle core
def test_one_exported_program_for_every_size():
    net = tiny()
    auto = torch.export.Dim.AUTO
    shapes = {name: {0: auto, 2: auto, 3: auto} for name in ("s2", "s1")}
    program = torch.export.export(net, batch(64, 96, n=2), dynamic_shapes=shapes).module()
    other = batch(104, 72, n=3)
    with torch.no_grad():
        torch.testing.assert_close(program(*other), net(*other), rtol=1e-4, atol=1e-4)


def test_whole_graph_without_a_break():
    torch._dynamo.reset()
    net = torch.compile(tiny(), backend="eager", fullgraph=True)
    with torch.no_grad():
        assert net(*batch(32, 32)).shape == (1, 9, 32, 32)


@pytest.mark.parametrize(("width", "dtype", "names"), [
    (16, torch.bfloat16, ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"]),
    (48, torch.float16, ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"]),
    (48, torch.float32, ["EFFICIENT_ATTENTION", "MATH"]), (6, torch.bfloat16, ["MATH"]),
    (264, torch.bfloat16, ["EFFICIENT_ATTENTION", "MATH"])])
def test_kernels_of_attention_go_by_the_width_of_a_head(width, dtype, names):
    assert [kernel.name for kernel in kernels(width, dtype)] == names


def test_stochastic_depth_and_dropout_only_in_training():
    net = model.build("specsar_former", variant="small", drop_path=0.5)
    inputs = batch(32, 32, n=2)
    net.train()
    assert not torch.allclose(net(*inputs), net(*inputs))
    net.eval()
    torch.testing.assert_close(net(*inputs), net(*inputs))


@pytest.mark.parametrize(("make", "words"), [
    (lambda: model.build("resnet"), "must be one of specsar_former"),
    (lambda: model.build("unet", depth=3), "has no option 'depth'"),
    (lambda: model.build("segformer_s1", sensors="s2"), "has no option 'sensors'"),
    (lambda: model.build("specsar_former", variant="b9"), "must be one of small, b0"),
    (lambda: model.build("specsar_former", cross_query="both"), "must be own or other"),
    (lambda: tiny()(*batch(s2=9)), r"s2 must be \(B, 10, H, W\), found \(1, 9, 64, 64\)"),
    (lambda: tiny()(*batch(s1=1)), r"s1 must be \(B, 2, H, W\)"),
    (lambda: tiny()(batch()[0], batch(32, 32)[1]), "must be of one size")])
def test_mistakes_are_one_sentence(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
