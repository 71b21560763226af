"""What was tried to make styling faster, with what it brought: sentences, since the code of most of it is gone."""

from __future__ import annotations

TRIED: list[str] = [
    "Two Zen 5 cores, 32 channels, OpenVINO 2026.4.1 and torch 2.15.0, 512 x 512 unless said; medians of 5 to 9.",
    "Enlarging as one transposed 4x4 convolution, the last 9x9 as a 5x5 on folded pixels: 0.23 -> 0.175 s in float32, "
    "0.114 -> 0.085 s in bfloat16; onnxruntime 0.315 -> 0.25 s. Done.",
    "Norms by OpenVINO's MVN: no faster than exact sums (a millisecond), and 84 dB at 1080 x 1080, 55 to 61 dB at "
    "2000 x 3000, garbage for a picture of one colour. Not used in float32.",
    "Norms from sums and sums of squares of rows (ReduceMean, ReduceL2): 0.29 s, OpenVINO reorders each map.",
    "bfloat16 in every layer: 0.085 s instead of 0.097, and 37 dB on a smooth enlarged photograph instead of 48.",
    "The first two layers as a float32 model before the bfloat16 one: 0.104 s; marked in one graph: 0.097. Done.",
    "torch: the whole map at once instead of bands: 0.224 instead of 0.205 s, and twice the memory. With bands glibc's "
    "allocator thresholds (mallopt, kept from picture to picture) spare 0.03 of 0.58 s of CPU time and, at "
    "1024 x 1024, 0.3 of 2.7 s, for 10 to 25% more memory; set and reset around each picture, half of that. Set for "
    "training alone: to style, OpenVINO and onnxruntime come first on a CPU, and they keep their memory themselves.",
    "torch: transposed 4x4 convolutions instead of four 2x2 ones: 26.8 instead of 22.2 ms in float32.",
    "Large pages for malloc (GLIBC_TUNABLES glibc.malloc.hugetlb=1): no difference.",
    "OpenMP's threads asleep at once (OMP_WAIT_POLICY=PASSIVE): 0.27 instead of 0.20 s alone, a third less beside two "
    "busy neighbours; asleep after 10,000 turns: 0.205 s alone, and the same third. Done.",
    "Winograd's F(4, 3) for the residual layers, put together from OpenVINO's own operators (patches, three matrix "
    "products, a transposition), without norms, for one shape: ten layers of 128 channels at 128 x 128 in 141 instead "
    "of 123 ms; in 16 strips, which caches hold, 84 instead of 115; at 256 x 256, 32 strips, 366 instead of 474; 7e-6 "
    "from the convolutions. Not done: it would be a seventh of a float32 styling at best, wants a graph for each shape "
    "and four times the constants, and lays maps out by channels, which the norms do not.",
    "Three runs on two days at 512 x 512: float32 2.68 to 2.93 times plain eager torch, fast 4.68 to 5.32. The tuned "
    "allocator takes 35 to 42% from plain eager's time, and what page faults cost is up to the host.",
]
