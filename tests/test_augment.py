import pytest
import torch

from ssrlib.augment import MILD, PAPER, STRONG, augment, sent

FACES = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def generator():
    return torch.Generator().manual_seed(1)


def test_without_changes_faces_are_flipped_or_the_same():
    out = augment(FACES, generator())
    same = [torch.allclose(o, f.float(), atol=1e-2) for o, f in zip(out, FACES, strict=True)]
    flipped = [torch.allclose(o, f.float().flip(2), atol=1e-2) for o, f in zip(out, FACES, strict=True)]
    assert all(a != b for a, b in zip(same, flipped, strict=True))
    assert any(same)
    assert any(flipped)


def test_every_change_is_as_large_as_asked_and_no_larger():
    dot = torch.zeros(500, 3, 64, 64)
    dot[:, :, 30:34, 30:34] = 255
    place = torch.arange(64.0) - 31.5

    def offsets(**change):
        out = augment(dot, generator(), **change)[:, 0]
        weight = out / out.sum(dim=(1, 2), keepdim=True)
        return (weight.sum(dim=1) * place).sum(dim=1)

    assert offsets().abs().max() < 0.01
    assert 5.5 < offsets(shift=0.1).abs().max() <= 6.41
    sizes = augment(dot, generator(), zoom=0.3).sum(dim=(1, 2, 3)) / (16 * 255 * 3)
    assert 1.5 < sizes.max() < 1.8
    assert 0.4 < sizes.min() < 0.6


def test_light_changes_brightness_and_stays_in_range():
    out = augment(FACES, generator(), light=0.5)
    ratio = out.mean(dim=(1, 2, 3)) / FACES.float().mean(dim=(1, 2, 3))
    assert ratio.max() - ratio.min() > 0.1
    assert out.min() >= 0
    assert out.max() <= 255


@pytest.mark.parametrize("angle", [30.0])
def test_rotation_turns_pixels_without_stretching(angle):
    bar = torch.zeros(400, 3, 64, 64)
    bar[:, :, 31:33, 8:56] = 255
    out = augment(bar, generator(), rotation=angle)[:, 0] / 255
    y, x = torch.meshgrid(*[torch.arange(64.0) - 31.5] * 2, indexing="ij")
    spread = ((out * (x**2 + y**2)).sum(dim=(1, 2)) / out.sum(dim=(1, 2))).sqrt()
    assert (spread.max() - spread.min()) / spread.mean() < 0.03
    height = out.amax(dim=2).gt(0.5).sum(dim=1)
    assert height.max() > 18
    assert height.min() <= 3


def test_chance_leaves_the_other_faces_alone():
    out = augment(FACES.repeat(50, 1, 1, 1), generator(), light=0.5, chance=0.25)
    brightness = out.mean(dim=(1, 2, 3)) / FACES.repeat(50, 1, 1, 1).float().mean(dim=(1, 2, 3))
    unchanged = ((brightness - 1).abs() < 1e-3).float().mean()
    assert 0.65 < unchanged < 0.85  # contrast leaves the mean where it is


def test_blur_takes_detail_and_keeps_the_mean():
    checkered = torch.zeros(200, 3, 64, 64)
    checkered[..., ::2, 1::2] = checkered[..., 1::2, ::2] = 200
    out = augment(checkered, generator(), blur=1.0)
    contrasts = out.std(dim=(1, 2, 3)) / checkered.std()
    assert 0.8 < contrasts.max() <= 1 + 1e-3
    assert contrasts.min() < 0.2
    assert (out.mean(dim=(1, 2, 3)) - 100).abs().max() < 1


def test_noise_differs_from_pixel_to_pixel_and_from_face_to_face():
    torch.manual_seed(0)
    out = augment(torch.full((200, 3, 64, 64), 128.0), generator(), noise=20.0)
    spread = out.std(dim=(1, 2, 3))
    assert spread.min() < 2
    assert 18 < spread.max() < 21
    assert (out.mean(dim=(1, 2, 3)) - 128).abs().max() < 1


def test_cover_hides_a_box_of_no_more_than_its_share():
    bright = torch.full((300, 3, 64, 64), 255.0)
    bright[:, :, 32:] = 0  # the mean is half as bright, so that what is covered can be told
    hidden = ((augment(bright, generator(), cover=0.5) - 127.5).abs() < 20).all(dim=1)
    share = hidden.float().mean(dim=(1, 2))
    assert 0.15 < share.max() <= 0.25 + 0.02
    assert share.min() < 0.02


@pytest.mark.parametrize("strength", [MILD, PAPER, STRONG])
def test_same_generator_same_faces(strength):
    once, again = ((torch.manual_seed(0), augment(FACES, generator(), **strength))[1] for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, FACES.float(), atol=10)


def test_light_changes_contrast_as_well():
    faces = torch.zeros(300, 3, 64, 64)
    faces[..., :32, :] = 200
    lit = augment(faces, generator(), light=0.5)
    spread = lit.amax(dim=(1, 2, 3)) / lit.mean(dim=(1, 2, 3))
    assert spread.max() > spread.min() + 0.3


def test_shifts_go_up_and_down_as_far_as_asked():
    dot = torch.zeros(500, 3, 64, 64)
    dot[:, :, 30:34, 30:34] = 255
    moved = augment(dot, generator(), shift=0.1)[:, 0].sum(dim=2)
    down = (moved * (torch.arange(64) - 31.5)).sum(1) / moved.sum(1)
    assert 5.5 < down.abs().max() <= 6.41


def test_shear_leans_a_bar_as_far_as_asked():
    bar = torch.zeros(200, 3, 64, 64)
    bar[..., 31:33] = 255
    lean = augment(bar, generator(), shear=0.3)[:, 0]
    x = (lean * torch.arange(64.0)).sum(2) / lean.sum(2)
    assert 0.25 < ((x[:, 60] - x[:, 3]).abs() / 57).max() <= 0.31


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_is_sent_to_a_gpu_arrives_whole_or_in_part():
    numbers = torch.arange(6.0)
    for part in (numbers, numbers[::2]):
        assert sent(part, torch.device("cuda")).cpu().equal(part)
