"""CLAIRE: every switch is a switch, the fusion is the sum it says, and both sensors count."""

import pytest
import torch

import model
from dwplus.errors import InputError
from model.networks.layers import count_parameters


def tiny(**options):
    torch.manual_seed(0)
    return model.build("claire", variant="small", **options).eval()


def batch(h=64, w=64, s2=10, s1=2, n=1):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, s2, h, w, generator=generator), torch.randn(n, s1, h, w, generator=generator)


@pytest.mark.parametrize("options", [
    {}, {"first_stride": 2}, {"attention_from": 4, "reduction": 8}, {"channel_gate": False}, {"spatial_gate": False},
    {"cross_attention": False}, {"channel_gate": False, "spatial_gate": False, "cross_attention": False}])
def test_every_option_at_an_odd_size(options):
    net = tiny(s2_bands=4, s1_bands=3, **options)
    with torch.no_grad():
        out = net(*batch(37, 50, 4, 3, n=2))
    assert out.shape == (2, 9, 37, 50) and torch.isfinite(out).all()


def test_the_r34_encoders_are_resnet_34s():
    with torch.device("meta"):
        net = model.build("claire", s2_bands=3)
    # ResNet-34 has 21,797,672 parameters, of which 512 * 1000 + 1000 are its classifier.
    assert count_parameters(net.optical) == 21_797_672 - 513_000
    assert 40e6 < count_parameters(net) < 60e6


def test_switches_remove_parameters():
    whole = count_parameters(tiny())
    for name in ("channel_gate", "spatial_gate", "cross_attention"):
        assert count_parameters(tiny(**{name: False})) < whole


def test_the_parts_of_both_sensors_add_up():
    net = tiny()
    fuse = net.fusions[2]
    o, s = torch.rand(2, 96, 5, 7), torch.rand(2, 96, 5, 7)
    with torch.no_grad():
        a, b = fuse.parts(o, s)
        torch.testing.assert_close(fuse(o, s), torch.relu(fuse.norm(a + b)))
        shares = net.optical_shares(*batch(n=3))
    assert shares.shape == (3, 4) and (shares > 0).all() and (shares < 1).all()


def test_without_fusion_modules_a_sensor_stays_in_its_part():
    fuse = tiny(channel_gate=False, spatial_gate=False, cross_attention=False).fusions[0]
    o, s = torch.rand(1, 24, 4, 4), torch.rand(1, 24, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(fuse.parts(o, s)[0], fuse.parts(o, torch.zeros_like(s))[0])
        crossed = tiny().fusions[2]
        o, s = torch.rand(1, 96, 4, 4), torch.rand(1, 96, 4, 4)
        assert not torch.allclose(crossed.parts(o, s)[0], crossed.parts(o, torch.zeros_like(s))[0])


def test_both_sensors_matter_and_every_weight_learns():
    net = tiny().train()
    s2, s1 = batch(n=2)
    net(s2, s1).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.eval()
    with torch.no_grad():
        base = net(s2, s1)
        assert not torch.allclose(base, net(s2, torch.zeros_like(s1)))
        assert not torch.allclose(base, net(torch.zeros_like(s2), s1))


@pytest.mark.parametrize(("make", "words"), [
    (lambda: tiny(first_stride=3), "must be 2 or 4"), (lambda: model.build("claire", variant="b2"), "small, r18, r34"),
    (lambda: tiny()(*batch(s2=9)), r"claire: s2 must be \(B, 10, H, W\)"),
    (lambda: tiny()(batch()[0], batch(32, 32)[1]), "must be of one size")])
def test_mistakes_are_one_sentence(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
