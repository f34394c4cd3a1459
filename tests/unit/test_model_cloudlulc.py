"""CloudLULC-Net: each part by its equation, each switch a switch, the anchor in training only."""

import pytest
import torch
import torch.nn.functional as F

import model
from dwplus.errors import InputError
from model.networks.cloudlulc_net import CHOI, ORM, SHOI, Anchor
from model.networks.layers import count_parameters

PARTS = ("orm", "spatial", "channel", "usmt", "anchor")


def tiny(**options):
    torch.manual_seed(0)
    return model.build("cloudlulc_net", variant="small", **options).eval()


def batch(h=64, w=64, s2=10, s1=2, n=1):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, s2, h, w, generator=generator), torch.randn(n, s1, h, w, generator=generator)


@pytest.mark.parametrize("options", [
    *({part: False} for part in PARTS), dict.fromkeys(PARTS, False), {"first_stride": 2}, {"compare": False},
    {"shared": False}, {"shared": False, "orm": False},
    {"order": 1}, {"order": 5, "blocks": 1, "reduction": 1}])
def test_every_option_at_an_odd_size(options):
    net = tiny(s2_bands=4, s1_bands=3, **options)
    with torch.no_grad():
        out = net(*batch(37, 50, 4, 3, n=2))
    assert out.shape == (2, 9, 37, 50) and torch.isfinite(out).all()


def test_switches_remove_parameters():
    whole = count_parameters(tiny())
    for part in PARTS:
        assert count_parameters(tiny(**{part: False})) < whole


def test_an_optic_that_is_not_trusted_says_the_same_everywhere():
    orm = ORM(4)
    o, s = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        orm.instead.copy_(torch.arange(4.0))
        orm.judge.weight.zero_()
        orm.judge.bias.fill_(-100)
        out, r = orm(o, s)
        torch.testing.assert_close(out, torch.arange(4.0)[None, :, None, None].expand_as(out))
        assert (r == 0).all()
        orm.judge.bias.fill_(100)
        torch.testing.assert_close(orm(o, s)[0], o)


def test_spatial_interaction_is_of_its_order():
    shoi = SHOI(8, order=3)
    with torch.no_grad():
        shoi.norm_a, shoi.norm_b = torch.nn.Identity(), torch.nn.Identity()
        for layer in (shoi.start, shoi.gates, *shoi.spread, shoi.out):
            layer.bias.zero_()
        a, b = torch.randn(1, 8, 9, 9), torch.randn(1, 8, 9, 9)
        torch.testing.assert_close(shoi(2 * a, b), 2 * shoi(a, b), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(shoi(a, 2 * b), 8 * shoi(a, b), rtol=1e-4, atol=1e-6)


def test_channel_gates_look_at_both_sensors():
    torch.manual_seed(0)
    choi = CHOI(4)
    o, s = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3)
    with torch.no_grad():
        gated, _ = choi(o, s)
        other, _ = choi(o, torch.rand(1, 4, 3, 3))
    ratio = gated / o
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert not torch.allclose(gated, other)


def test_the_anchor_holds_the_labels_and_pulls_the_latent_only():
    torch.manual_seed(0)
    anchor = Anchor(3, 8, 1.0)
    label = torch.randint(0, 3, (2, 16, 16))
    label[:, :4] = 255
    latent = torch.randn(2, 8, 4, 4, requires_grad=True)
    anchor(latent, label).backward()
    assert latent.grad is not None and (latent.grad[:, :, 0] == 0).all() and (latent.grad[:, :, 1:] != 0).any()
    # The pull leaves the anchor's own weights alone: their gradient is that of the readout.
    ours = [p.grad.clone() for p in anchor.parameters()]
    anchor.zero_grad()
    anchor.weight = 0.0
    anchor(latent, label).backward()
    for a, p in zip(ours, anchor.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    optimiser = torch.optim.Adam(anchor.parameters(), 0.03)
    blocks = torch.randint(0, 3, (2, 4, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = anchor(latent.detach(), blocks)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1
    assert anchor(latent, torch.full((2, 16, 16), 255)) == 0


def test_the_anchor_is_of_training_only():
    net = tiny()
    inputs = batch(n=2)
    label = torch.randint(0, 9, (2, 64, 64))
    with torch.no_grad():
        alone = net(*inputs)
        logits, extra = net(*inputs, label)
        torch.testing.assert_close(alone, logits)
        assert extra > 0
        for p in net.anchor.parameters():
            p.fill_(float("nan"))
        torch.testing.assert_close(net(*inputs), alone)
    assert net.takes_label and net.training_only == ("anchor",)
    bare = tiny(anchor=False)
    assert not bare.takes_label and bare.training_only == ()
    with torch.no_grad():
        assert bare(*inputs, label)[1] == 0


def test_every_weight_learns():
    net = tiny().train()
    label = torch.randint(0, 9, (2, 64, 64))
    logits, extra = net(*batch(n=2), label)
    (F.cross_entropy(logits, label) + extra).backward()
    missing = [name for name, p in net.named_parameters() if p.grad is None]
    assert not missing


def test_the_reliability_map():
    net = tiny()
    s2, s1 = batch(37, 50, n=2)
    r = net.reliability(s2, s1)
    assert r.shape == (2, 1, 37, 50) and (r > 0).all() and (r < 1).all() and not r.requires_grad
    torch.testing.assert_close(r, F.interpolate(net._encode(s2, s1)[2][0], (37, 50), mode="bilinear"))
    assert (r > 0.3).all() and (r < 0.97).all() and 0.7 < r.mean() < 0.9  # begins neither shut nor blind
    coarse = [x.mean() for x in net._encode(s2[..., :32, :32], s1[..., :32, :32])[2]]
    torch.testing.assert_close(torch.stack(coarse), coarse[0].expand(4))  # averaged, not judged again
    apart = tiny(shared=False)
    maps = apart._encode(s2, s1)[2]
    assert not torch.allclose(maps[0].mean(), maps[3].mean()) and apart.reliability(s2, s1).shape == (2, 1, 37, 50)
    with pytest.raises(InputError, match="built with orm=False"):
        tiny(orm=False).reliability(s2, s1)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: tiny(order=0), "must be 1 or more"),
    (lambda: model.build("cloudlulc_net", variant="b2"), "small, r18, r34"),
    (lambda: tiny()(*batch(s1=1)), r"cloudlulc_net: s1 must be \(B, 2, H, W\)"),
    (lambda: tiny()(batch()[0], batch(32, 32)[1]), "must be of one size")])
def test_mistakes_are_one_sentence(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
