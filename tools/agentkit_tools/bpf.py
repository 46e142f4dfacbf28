"""Assemble seccomp filters: a list of rules in, a classic BPF program out.

A program looks at the number and the register arguments of each system call, first rule that fits wins, and
what no rule names is allowed. A call made for another architecture kills the process; a number the tables do
not know (x32 calls too) answers ENOSYS.
Not covered: what arguments point to; a filter sees addresses, never memory behind them.
Source: Linux Documentation/userspace-api/seccomp_filter.rst, include/uapi/linux/{seccomp,bpf_common}.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from agentkit_tools import syscalls

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

_LOAD_WORD, _AND, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_INSTRUCTION = struct.Struct("<HBBI")
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS: the kernel takes no longer program


@dataclass(frozen=True, slots=True)
class Test:
    """A condition on one half of one argument: `(half & mask) == value`, or `!=`."""

    argument: int
    mask: int
    value: int
    equal: bool = True
    high: bool = False
    """Look at bits 32 to 63 instead of 0 to 31. An `int` argument lives in the low half alone."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Answer the call `name` with `errno` (0: allow it) when all `tests` hold."""

    name: str
    errno: int
    tests: tuple[Test, ...] = ()


def assemble(rules: Iterable[Rule], machine: str) -> bytes:
    """Return the program: `struct sock_filter` after `struct sock_filter`.

    Args:
        rules: Tried in order. A rule for a call the machine does not have is left out.
        machine: `x86_64` or `aarch64`.

    Raises:
        ValueError: The program would be longer than the kernel takes.
    """
    enosys = _ERRNO | 38
    program = [
        _load(_OFFSET_ARCH),
        _jump(_JUMP_EQUAL, syscalls.AUDIT_ARCH[machine], 1, 0),
        _return(KILL_PROCESS),
        _load(_OFFSET_NUMBER),
        _jump(_JUMP_GREATER, syscalls.LAST_KNOWN, 0, 1),  # unsigned: x32 numbers have bit 30 set
        _return(enosys),
    ]
    for rule in rules:
        number = syscalls.number(rule.name, machine)
        if number is not None:
            program += _rule(number, rule)
    program.append(_return(ALLOW))
    if len(program) > _MOST_INSTRUCTIONS:
        raise ValueError(f"a filter of {len(program)} instructions is over the limit of {_MOST_INSTRUCTIONS}")
    return b"".join(program)


def _rule(number: int, rule: Rule) -> list[bytes]:
    """Return the rule's instructions; they leave the call's number in the accumulator."""
    answer = _return(_ERRNO | rule.errno if rule.errno else ALLOW)
    if not rule.tests:
        return [_jump(_JUMP_EQUAL, number, 0, 1), answer]
    body: list[bytes] = []
    left = 3 * len(rule.tests)  # instructions after the current one, up to and with the answer
    for test in rule.tests:
        offset = (
            _OFFSET_ARGUMENTS + 8 * test.argument + (4 if test.high else 0)
        )  # both machines are little-endian
        left -= 3
        skip = left + 1
        branch = (0, skip) if test.equal else (skip, 0)
        body += [
            _load(offset),
            _INSTRUCTION.pack(_AND, 0, 0, test.mask),
            _jump(_JUMP_EQUAL, test.value, *branch),
        ]
    body.append(answer)
    return [_jump(_JUMP_EQUAL, number, 0, len(body) + 1), *body, _load(_OFFSET_NUMBER)]


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LOAD_WORD, 0, 0, offset)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, value)


def _return(value: int) -> bytes:
    return _INSTRUCTION.pack(_RETURN, 0, 0, value)
