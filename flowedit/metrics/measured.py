"""Metrics that nobody asks for by name: `flowedit bench` and every run measure them by themselves."""

from flowedit.metrics.catalogue import METRICS, Metric

# flowedit bench, against the exact truth: see evaluation/bench/score.py
METRICS.add("object_accuracy", Metric("object accuracy", "truth", "higher", share=True))
METRICS.add("right_object", Metric("right object of two", "truth", "higher", share=True))
METRICS.add("mask_iou", Metric("mask IoU", "truth", "higher"))
METRICS.add("motion_error", Metric("motion error", "truth", "lower", decimals=3))
METRICS.add("truth_psnr_composited", Metric("truth PSNR, composited", "truth", "higher"))
METRICS.add("truth_lpips_composited", Metric("truth LPIPS (bundled), composited", "truth", "lower", decimals=3))
METRICS.add("background_psnr_composited", Metric("background PSNR, composited", "source", "higher"))
METRICS.add("shadow_psnr", Metric("shadow PSNR", "truth", "higher"))
METRICS.add("shadow_left", Metric("shadow left", "truth", "lower"))
METRICS.add("shadow_psnr_composited", Metric("shadow PSNR, composited", "truth", "higher"))
METRICS.add("shadow_left_composited", Metric("shadow left, composited", "truth", "lower"))

# every run: see evaluation/edit_job.py
METRICS.add(
    "network_evaluations",
    Metric(
        "network evaluations",
        "cost",
        None,
        decimals=0,
        about="Batch rows through the network, over the whole edit.",
    ),
)
METRICS.add(
    "token_evaluations",
    Metric(
        "token evaluations",
        "cost",
        None,
        decimals=1,
        about="The same, but a row counts by the share of a whole row's tokens that it sent (mode.region).",
    ),
)
METRICS.add("seconds", Metric("seconds", "cost", "lower", decimals=1))
METRICS.add("peak_memory_mib", Metric("peak memory, MiB", "cost", "lower", decimals=0))
