"""What the llama.cpp that is installed here can do: processor features it was built with, devices it sees.

`python -I -m agentkit.models.build` prints it as JSON, so that nobody has to load llama.cpp to know.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import asdict, dataclass

import llama_cpp

_KINDS = ("processor", "card", "built-in card", "accelerator")
"""As `ggml_backend_dev_type` counts them."""
_CARDS = _KINDS[1:3]


@dataclass(frozen=True, slots=True)
class Device:
    """Something llama.cpp can compute on."""

    name: str
    description: str
    kind: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Build:
    """What was built, and what it finds."""

    version: str
    """Of llama-cpp-python."""
    offloads: bool
    """Whether layers can lie on a graphics card."""
    features: tuple[str, ...]
    """Like AVX512, as llama.cpp calls them."""
    devices: tuple[Device, ...]

    @property
    def cards(self) -> tuple[Device, ...]:
        """The graphics cards, in the order in which llama.cpp counts them."""
        return tuple(device for device in self.devices if device.kind in _CARDS)


def build() -> Build:
    """Return what is installed here."""
    said = llama_cpp.llama_print_system_info().decode("utf-8", "replace")
    parts = [part.rpartition(" : ")[2].split("=") for part in said.split("|")]
    features = tuple(part[0].strip() for part in parts if len(part) == 2 and part[1].strip() == "1")
    return Build(
        llama_cpp.__version__, bool(llama_cpp.llama_supports_gpu_offload()), features, tuple(_devices())
    )


def _devices() -> list[Device]:
    library = llama_cpp.llama_cpp._lib  # noqa: SLF001 - llama-cpp-python does not name these
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    for name in ("ggml_backend_dev_name", "ggml_backend_dev_description"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    pointer = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, pointer, pointer]
    library.ggml_backend_dev_memory.restype = None
    found = []
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        kind = library.ggml_backend_dev_type(device)
        found.append(
            Device(
                library.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                library.ggml_backend_dev_description(device).decode("utf-8", "replace"),
                _KINDS[kind] if 0 <= kind < len(_KINDS) else "other",
                free.value,
                total.value,
            )
        )
    return found


if __name__ == "__main__":
    print(json.dumps(asdict(build())))  # noqa: T201 - this is what it is for
