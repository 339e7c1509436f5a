"""What a node shows of its result on the page; see ../../README.md."""


class PreviewMask:
    """A mask (frames, height, width), shown as pictures."""

    def __init__(self, mask, animated=False, cls=None):
        pictures = mask.reshape((-1, 1, mask.shape[-2], mask.shape[-1])).movedim(1, -1).expand(-1, -1, -1, 3)
        self.pictures, self.animated = (255 * pictures).clip(0, 255).byte().numpy(), animated
