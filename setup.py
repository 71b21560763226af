"""Package metadata. Every heavy dependency is an extra; ``all`` is their sorted union."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

EXTRAS: dict[str, list[str]] = {
    # Tasks and the `luigi` command. An extra, so that `csci_utils.io` and `neural_style` stay light.
    "luigi": ["luigi>=3.8.1,<4"],
    # The network on CUDA, MPS or CPU. torchvision brings the feature network that training needs.
    "torch": ["torch>=2.11,<3", "torchvision>=0.26,<1"],
    # Writing `.onnx` models (`--export_onnx`).
    "onnx": ["onnx>=1.23,<2", "onnxscript>=0.7.2,<1"],
    # Running `.onnx` models, and weights, which onnx makes such a model of.
    "onnxruntime": ["onnx>=1.23,<2", "onnxruntime>=1.31,<2"],
    # Styling with weights on the CPU, at several times torch's speed and without importing it.
    "openvino": ["openvino>=2026.4,<2027"],
    # Pictures larger than memory, read and written in bands.
    "bands": ["pyvips[binary]>=3.2,<4"],
    # Curves of a training run (`TensorBoardPlugin`).
    "tensorboard": ["tensorboard>=2.21,<3"],
    # The S3 server inside the process (`--embedded`), and the tests.
    "embedded": ["moto[server]>=5.2.5,<6"],
    # Many pictures on many machines (`many --runner ray`). All machines of a cluster have the same version.
    "ray": ["ray>=2.60,<3"],
    # Looking at dependencies (`python -m csci_utils.deps`): versions and markers, Pipfiles' hashes, `.travis.yml`.
    "deps": ["packaging>=26.0,<27", "plette>=2.4,<3", "ruamel.yaml>=0.19.1,<1"],
}
EXTRAS["all"] = sorted({requirement for group in EXTRAS.values() for requirement in group})

setup(
    name="neural-style-pipeline",
    version="0.1.0",
    description="Style pictures and train styles as Luigi tasks whose truth is S3.",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["csci_utils*", "neural_style*", "pipeline*"]),
    package_data={
        "csci_utils": ["py.typed"],
        "neural_style": ["py.typed"],
        "pipeline": ["py.typed"],
        "pipeline.gallery": ["*.html", "*.css", "*.js"],
    },
    install_requires=[
        "boto3>=1.44,<2",
        "botocore>=1.44,<2",
        "click>=8.5,<9",
        "numpy>=2.0,<3",
        "pillow>=13.0,<14",
        "python-dotenv>=1.2,<2",
        "tqdm>=4.70,<5",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["style-pipeline = pipeline.__main__:main"]},
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
)
