"""May this call run? A pure rule over what the tool can do and what the model has read; no model is asked.

    entry for the tool in the policy file      its decision stands
    else, by capability                        the strictest default of its capabilities
    else, tainted                              once a document or a tool's result was read, nothing that
                                               writes or executes is allowed by a default: it asks

A model that read a document may be acting on the document's words. An entry for the tool, or `--yes`, is the
user saying that this is fine. Source: `docs/adr/0006-labels.md`; FIDES, Costa et al. 2025.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agentkit_tools.definition import CAPABILITIES, CHANGES, Tool
from agentkit_tools.errors import PolicyError

MOST_POLICY_BYTES = 64 * 1024
UNTRUSTED_ORIGINS = frozenset({"document", "tool"})


class Verdict(StrEnum):
    """What becomes of a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


_STRICTEST = (Verdict.DENY, Verdict.ASK, Verdict.ALLOW)
DEFAULTS: Mapping[str, Verdict] = MappingProxyType(
    {
        "read_files": Verdict.ALLOW,
        "read_memory": Verdict.ALLOW,
        "write_files": Verdict.ASK,
        "execute": Verdict.ASK,
        "write_memory": Verdict.ASK,
    }
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, and why."""

    verdict: Verdict
    reason: str
    """Shown to the user; names tools and capabilities, never arguments."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed, asked about, and denied."""

    tools: Mapping[str, Verdict] = field(default_factory=dict)
    """The user's entries for single tools."""
    capabilities: Mapping[str, Verdict] = field(default_factory=lambda: DEFAULTS)
    """For tools without an entry."""
    asks_nothing: bool = False
    """The user said yes to everything beforehand; what is denied stays denied."""

    @classmethod
    def default(cls) -> Policy:
        """Return the policy without a file: reading is allowed, all that changes anything asks."""
        return cls()

    @classmethod
    def yes(cls, base: Policy | None = None) -> Policy:
        """Return a policy that asks nothing: what `base` would ask about is allowed; its denials stay."""
        base = base or cls()
        return cls(base.tools, base.capabilities, asks_nothing=True)

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file.

            [tools.run_shell]
            decision = "deny"           # allow, ask or deny
            [capabilities]
            write_memory = "allow"

        Raises:
            PolicyError: The file cannot be read, or says something that is no policy.
        """
        try:
            if path.exists() and not path.is_file():
                raise PolicyError(
                    f"policy file {path} is no plain file",
                    hint="the core reads it, in another process: save it first",
                )
            data = path.read_bytes()
        except OSError as error:
            raise PolicyError(f"policy file {path} cannot be read: {error.strerror}") from error
        if len(data) > MOST_POLICY_BYTES:
            raise PolicyError(
                f"policy file {path} has {len(data)} bytes, over the limit of {MOST_POLICY_BYTES}"
            )
        try:
            return cls.parse(tomllib.loads(data.decode()), str(path))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PolicyError(f"policy file {path} is not TOML: {error}") from error

    @classmethod
    def parse(cls, content: Mapping[str, Any], name: str = "policy") -> Policy:
        """Read a policy from what TOML gave.

        Args:
            content: Tables `tools` and `capabilities`, both optional.
            name: For messages.

        Raises:
            PolicyError: An unknown key, capability or decision; a typo must not silently allow anything.
        """
        unknown = sorted(set(content) - {"tools", "capabilities"})
        if unknown:
            raise PolicyError(
                f"{name} has the unknown table {unknown[0]!r}", hint="use [tools.NAME] or [capabilities]"
            )
        tools = {}
        for tool_name, entry in _table(content, "tools", name).items():
            if not isinstance(entry, dict) or set(entry) != {"decision"}:
                raise PolicyError(
                    f"{name}: [tools.{tool_name}] must hold one key, decision", hint='decision = "ask"'
                )
            tools[tool_name] = _verdict(entry["decision"], f"{name}: [tools.{tool_name}]")
        capabilities = dict(DEFAULTS)
        for capability, decision in _table(content, "capabilities", name).items():
            if capability not in CAPABILITIES:
                raise PolicyError(
                    f"{name} has the unknown capability {capability!r}",
                    hint=f"use some of {', '.join(sorted(CAPABILITIES))}",
                )
            capabilities[capability] = _verdict(decision, f"{name}: {capability}")
        return cls(tools, capabilities)

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse an entry that is all but the name of a tool; other names may be those of tools not here today.

        Raises:
            PolicyError: It was meant for one of `names`.
        """
        known = set(names)
        for name in set(self.tools) - known:
            if meant := difflib.get_close_matches(name, known, 1, 0.8):
                raise PolicyError(
                    f"the policy has an entry for {name}, and there is no such tool",
                    hint=f"[tools.{meant[0]}]",
                )

    def rule(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],  # noqa: ARG002 - promised to rules on arguments
        *,
        read_origins: frozenset[str],
    ) -> Ruling:
        """Return whether `tool` may run.

        Args:
            tool: What is called.
            arguments: Not looked at yet: rules on arguments come with provenance of values.
            read_origins: Origins of everything the model has read in this conversation.
        """
        ruling = self._rule(tool, read_origins)
        if self.asks_nothing and ruling.verdict is Verdict.ASK:
            return Ruling(Verdict.ALLOW, "you said yes to everything")
        return ruling

    def _rule(self, tool: Tool, read_origins: frozenset[str]) -> Ruling:
        if tool.name in self.tools:
            return Ruling(self.tools[tool.name], f"your policy has an entry for {tool.name}")
        if not tool.capabilities:
            return Ruling(Verdict.ALLOW, f"{tool.name} can change nothing and read nothing of yours")
        by_capability = {name: self.capabilities.get(name, Verdict.ASK) for name in sorted(tool.capabilities)}
        strictest = min(by_capability.values(), key=_STRICTEST.index)
        cause = next(name for name, verdict in by_capability.items() if verdict is strictest)
        untrusted = sorted(UNTRUSTED_ORIGINS & read_origins)
        if strictest is Verdict.ALLOW and untrusted and tool.capabilities & CHANGES:
            change = min(tool.capabilities & CHANGES)
            return Ruling(
                Verdict.ASK, f"{tool.name} can {_words(change)}, and the model has read a {untrusted[0]}"
            )
        return Ruling(strictest, f"{tool.name} can {_words(cause)}")


def _words(capability: str) -> str:
    return {"execute": "run programs"}.get(capability, capability.replace("_", " "))


def _table(content: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise PolicyError(f"{name}: {key} is not a table", hint=f"write [{key}]")
    return table


def _verdict(value: object, place: str) -> Verdict:
    try:
        return Verdict(value)  # type: ignore[arg-type]
    except ValueError as error:
        raise PolicyError(f"{place} is not allow, ask or deny", hint='decision = "ask"') from error
