"""Object files of this processor: made from LLVM code, and loaded as functions.

Loading needs llvmlite alone, which imports in a tenth of the time that Numba takes.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

__all__ = ["ENTRY", "code_of_module", "load", "processor", "target_machine"]

ENTRY = "sgdtheory_loop"


@cache
def processor() -> tuple[str, ...]:
    """The processor and its features, for which the code is made, and the LLVM that makes it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name(), features, llvm.get_process_triple(), llvmlite.__version__


def target_machine() -> Any:
    """Code generation for this processor."""
    cpu, features, triple, _ = processor()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


def code_of_module(module: Any, entry: str) -> bytes:
    """Object file of one function of an LLVM module under the name ENTRY, and all that it calls.

    A line before it lists the symbols that it takes from elsewhere.
    """
    for function in module.functions:
        if not function.is_declaration and function.name != entry:
            function.linkage = llvm.Linkage.internal
    module.get_function(entry).name = ENTRY
    machine = target_machine()
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    declared = [function.name for function in module.functions if function.is_declaration]
    elsewhere = sorted(filter(None, map(_name_in_c, declared)))
    return json.dumps(elsewhere).encode() + b"\n" + machine.emit_object(module)


def _name_in_c(declared: str) -> str:
    """What a declared function is called in C; empty if it becomes an instruction or nothing."""
    if not declared.startswith("llvm."):
        return declared
    name = declared.split(".")[1]
    return name if hasattr(math, name) or name.startswith("mem") else ""


def load(code: bytes, prototype: Callable[[int], Any]) -> Callable[..., int]:
    """The function in the code.

    Args:
        code: from `code_of_module`.
        prototype: a ctypes function type.
    """
    elsewhere, _, machine_code = code.partition(b"\n")
    _resolve(json.loads(elsewhere))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    function: Any = prototype(engine.get_function_address(ENTRY))
    # The code lives as long as its engine.
    function.engine = engine
    return function


@cache
def _c_library() -> ctypes.CDLL:
    """Where C's mathematics is: what Python's own `math` is linked with."""
    if sys.platform == "win32":
        return ctypes.CDLL("ucrtbase")
    return ctypes.CDLL(getattr(math, "__file__", None))


def _resolve(symbols: list[str]) -> None:
    """Tell LLVM where symbols are, or refuse: it would end the process over one that is missing."""
    for name in symbols:
        if llvm.address_of_symbol(name):
            continue
        try:
            function = getattr(_c_library(), name)
        except AttributeError:
            raise RuntimeError(
                f"compiled code calls {name}, which this process does not have: "
                "use backend='numpy', and report this."
            ) from None
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
