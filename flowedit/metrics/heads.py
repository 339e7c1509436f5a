"""How each metric is shown: its heading, which way is better, its decimals, and whether it is a share of scenes."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Head:
    """`better`: where the better values lie, or None for what is only told; `share`: values are zeros and ones."""

    label: str
    better: Literal["higher", "lower"] | None
    decimals: int
    share: bool = False

    @property
    def heading(self) -> str:
        """The label with an arrow towards the better values."""
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[self.better]
        return self.label + arrow


HEADS = {
    # PocketBench, against the exact truth
    "object_accuracy": Head("object accuracy", "higher", 2, share=True),
    "right_object": Head("right object of two", "higher", 2, share=True),
    "truth_psnr": Head("truth PSNR", "higher", 2),
    "truth_lpips": Head("truth LPIPS (bundled)", "lower", 3),
    "truth_psnr_composited": Head("truth PSNR, composited", "higher", 2),
    "truth_lpips_composited": Head("truth LPIPS (bundled), composited", "lower", 3),
    "mask_iou": Head("mask IoU", "higher", 2),
    "motion_error": Head("motion error", "lower", 3),
    # against the source
    "background_psnr": Head("background PSNR", "higher", 2),
    "background_psnr_composited": Head("background PSNR, composited", "higher", 2),
    "background_ssim": Head("background SSIM", "higher", 3),
    "background_mse": Head("background MSE", "lower", 5),
    "background_psnr_five": Head("background PSNR (FiVE)", "higher", 2),
    "background_ssim_five": Head("background SSIM (FiVE)", "higher", 3),
    "background_mse_five": Head("background MSE (FiVE)", "lower", 5),
    "background_lpips_five": Head("background LPIPS (FiVE)", "lower", 3),
    "psnr": Head("PSNR", "higher", 2),
    "ssim": Head("SSIM", "higher", 3),
    "mse": Head("MSE", "lower", 5),
    "lpips_bundled": Head("LPIPS (bundled)", "lower", 3),
    "lpips_alex": Head("LPIPS (alex)", "lower", 3),
    "lpips_vgg": Head("LPIPS (vgg)", "lower", 3),
    "lpips_squeeze": Head("LPIPS (squeeze)", "lower", 3),
    "structure_distance": Head("structure distance ×10³", "lower", 2),
    # along time
    "warp_error": Head("warp error ×10³", "lower", 2),
    "warp_ssim": Head("warp SSIM", "higher", 3),
    "flow_cosine": Head("flow cosine", "higher", 3),
    "temporal_flicker": Head("temporal flicker", "higher", 4),
    # against the prompt
    "clip_t": Head("CLIP-T", "higher", 2),
    "clip_t_edited": Head("CLIP-T of the edited part", "higher", 2),
    "clip_f_all": Head("CLIP-F, all pairs", "higher", 4),
    "clip_f_adjacent": Head("CLIP-F, adjacent", "higher", 4),
    "q_edit": Head("Q_edit", "higher", 2),
    "five_acc": Head("FiVE-Acc", "higher", 2),
    "five_acc_yes_no": Head("FiVE-Acc yes/no", "higher", 2, share=True),
    "five_acc_multiple_choice": Head("FiVE-Acc multiple choice", "higher", 2, share=True),
    "five_acc_union": Head("FiVE-Acc ∪", "higher", 2, share=True),
    "five_acc_intersection": Head("FiVE-Acc ∩", "higher", 2, share=True),
    # what it cost
    "network_evaluations": Head("network evaluations", None, 0),
    "seconds": Head("seconds", "lower", 1),
    "peak_memory_mib": Head("peak memory, MiB", "lower", 0),
}
"""In the order of a table's columns."""
COSTS = ("network_evaluations", "seconds", "peak_memory_mib")
"""What is told of a run and no quality of its edit."""
