"""The model store: one folder per model, complete or absent, and every file of it under its hash.

    models/NAME/FILE…            the weights and what belongs to them
    models/NAME/manifest.json    names, sizes and hashes; a folder without one is no model
    models/.staging/…            what is being brought in; moved into place whole, by one rename
    models/.downloads/…          parts of interrupted downloads

Covered: a crash, a full disk or Ctrl-C at any moment leaves the models that were there, and no half of a new
one; folders are 0700 and files 0600, but for files shared with another program by a hard link.
Not covered: who changes a file afterwards; `verify` finds that out.
"""

from __future__ import annotations

import difflib
import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace as changed
from pathlib import Path
from typing import Literal

from agentkit.errors import (
    ConfigError,
    HashMismatchError,
    ModelError,
    ModelMissingError,
    ModelRefusedError,
)
from agentkit.models.catalogue import CATALOGUE, CatalogueEntry, Kind, ModelFile
from agentkit.models.disk import (
    copy_file,
    disk_errors,
    flush_file,
    flush_folder,
    hash_file,
    new_file,
    regular_file,
    write_all,
)
from agentkit.models.gguf import GGUFHeader, read_header
from agentkit.models.manifest import (
    MANIFEST,
    Checked,
    StoredModel,
    check_name,
    manifest_bytes,
    name_for,
    read_manifest,
)
from agentkit.models.progress import OnProgress, silent
from agentkit.models.staging import locked, staging

Transfer = Literal["link", "copy", "move"]
"""`link` shares the file by a hard link where the disk allows it, and copies it elsewhere."""


class ModelStore:
    """The models of one folder. Nothing is created until something is brought in."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock

    def entries(self) -> list[StoredModel]:
        """Return the models, by name. Folders without a manifest, or with a damaged one, are left out."""
        models = []
        for folder in self._folders():
            try:
                model = read_manifest(folder)
            except ModelError:
                continue  # `get` says what is wrong with it
            if model is not None:
                models.append(model)
        return models

    def get(self, name: str) -> StoredModel:
        """Return the model `name`; its files are there in their right size, but their hashes are not computed.

        Raises:
            ConfigError: No model can have that name.
            ModelMissingError: It is not in the store.
            ModelError: Its manifest is damaged, or a file is missing or has another size.
        """
        model = read_manifest(self.folder / check_name(name))
        if model is None:
            raise self._missing(name)
        for file in model.files:
            path = self.folder / name / file.name
            try:
                size = path.stat().st_size
            except OSError as error:
                raise ModelError(
                    f"model {name}: {file.name} cannot be read: {error.strerror}", hint=_again(name)
                ) from error
            if size != file.size_bytes:
                raise ModelError(
                    f"model {name}: {file.name} has {size} bytes instead of {file.size_bytes}",
                    hint=_again(name),
                )
        return model

    def verify(self, name: str, on_progress: OnProgress = silent) -> StoredModel:
        """Compute the hash of every file of the model `name` and compare it with what came in.

        A model of the catalogue is compared with the catalogue too: its manifest may have been changed.

        Raises:
            ModelMissingError: It is not in the store.
            ModelRefusedError: A file is not what came in. It is left where it is.
        """
        model = self.get(name)
        known = CATALOGUE.get(name)
        expected = known.files if known else model.files
        for file in expected:
            path = self.folder / name / file.name
            if not path.is_file():
                raise ModelRefusedError(f"model {name}: {file.name} is missing", hint=_again(name))
            found = hash_file(path, subject=f"{name}/{file.name}", on_progress=on_progress)
            if found != file.sha256:
                raise ModelRefusedError(
                    f"model {name}: {file.name} is not what came in: SHA-256 {found} instead of {file.sha256}",
                    hint=_again(name),
                )
        if model.path.suffix == ".gguf":
            read_header(model.path)
        return model

    def import_file(
        self,
        path: Path,
        name: str | None = None,
        *,
        transfer: Transfer = "link",
        sha256: str | None = None,
        on_progress: OnProgress = silent,
    ) -> StoredModel:
        """Bring in a GGUF file, or the folder of a model of the catalogue.

        The header of a GGUF file is checked before anything is stored; the original is removed only by
        `transfer="move"`, and only after the model is in the store.

        Args:
            path: A `.gguf` file (symbolic links are followed), or a folder with the files of the catalogue
                entry `name`.
            name: Its name in the store; default: from the file name.
            transfer: Share it, copy it, or move it.
            sha256: The hash the file must have.
            on_progress: Called about ten times a second.

        Raises:
            NotFoundError: There is no such file.
            ConfigError: The name is taken, or belongs to another model of the catalogue.
            ModelRefusedError: It is malformed, or nothing that can chat or embed.
            HashMismatchError: It does not have the hash it must have.
            LimitError: The disk is full.
        """
        name = check_name(name_for(path.name) if name is None else name)
        known = CATALOGUE.get(name)
        if path.is_dir():
            if known is None:
                raise ModelError(
                    f"{path}: a folder, and {name} is not in the catalogue", hint="name the .gguf file itself"
                )
            sources = {file.name: regular_file(path / file.name) for file in known.files}
        else:
            if known is not None and len(known.files) > 1:
                raise ConfigError(
                    f"model {name} has {len(known.files)} files", hint="name the folder that holds them"
                )
            real = regular_file(path)
            sources = {(known.files[0].name if known else _file_name(path, name)): real}
        with self.staging() as staged:
            for file, source in sources.items():
                self._bring(source, staged / file, transfer, on_progress)
            if known is not None:
                model = self.add_known(staged, known, on_progress=on_progress)
            else:
                (file,) = sources
                model = self.add_gguf(
                    staged, file, name=name, source=f"file:{path.name}", sha256=sha256,
                    checked="given" if sha256 else "nothing", on_progress=on_progress,
                )  # fmt: skip
        if transfer == "move":
            for source in sources.values():
                with disk_errors(source.parent):
                    source.unlink(missing_ok=True)
            for file in sources:
                (self.folder / name / file).chmod(0o600)
        return model

    def add_known(
        self, staged: Path, entry: CatalogueEntry, *, on_progress: OnProgress = silent
    ) -> StoredModel:
        """Store the files of a catalogue entry from a folder of `staging`, each checked against its hash.

        Raises:
            HashMismatchError: A file is missing or another one; nothing is stored.
        """
        for file in entry.files:
            path = staged / file.name
            found = (
                hash_file(path, subject=file.name, on_progress=on_progress) if path.is_file() else "missing"
            )
            if found != file.sha256:
                raise HashMismatchError(
                    f"model {entry.name}: {file.name} has SHA-256 {found} instead of {file.sha256}",
                    hint="get it again; if it happens twice, the source serves another file",
                )
            if path.suffix == ".gguf":
                read_header(path)
        model = StoredModel(
            name=entry.name, kind=entry.kind, path=staged, size=entry.size_bytes, sha256=entry.sha256,
            licence=entry.licence, context_tokens=entry.context_tokens, files=entry.files,
            source=str(entry.source), checked="catalogue", added=self._clock(), description=entry.description,
        )  # fmt: skip
        return self._commit(staged, model, replace=True)

    def add_gguf(
        self,
        staged: Path,
        file: str,
        *,
        name: str,
        source: str,
        sha256: str | None = None,
        checked: Checked = "nothing",
        replace: bool = False,
        on_progress: OnProgress = silent,
    ) -> StoredModel:
        """Store one GGUF file from a folder of `staging`; its header is checked, and its hash where one is given.

        Raises:
            ConfigError: The name is taken and `replace` is false, or belongs to the catalogue.
            ModelRefusedError: It is malformed, or nothing that can chat or embed.
            HashMismatchError: It has another hash; nothing is stored.
        """
        if name in CATALOGUE:
            raise ConfigError(
                f"the name {name} belongs to the catalogue", hint="choose another name with --name"
            )
        path = staged / file
        header = _usable(path)
        found = hash_file(path, subject=file, on_progress=on_progress)
        if sha256 is not None and found != sha256:
            raise HashMismatchError(
                f"{file}: SHA-256 {found} instead of {sha256}", hint="check the hash, or get the file again"
            )
        size = path.stat().st_size
        model = StoredModel(
            name=name, kind=_kind(header), path=path, size=size, sha256=found, licence=header.licence or "",
            context_tokens=header.context_length or 0, files=(ModelFile(file, size, found),), source=source,
            checked=checked, added=self._clock(), description=header.name or "",
        )  # fmt: skip
        return self._commit(staged, model, replace=replace)

    def remove(self, name: str) -> int:
        """Remove the model `name`, or what is left of it; return the bytes that were its files.

        Raises:
            ConfigError: No model can have that name.
            ModelMissingError: There is no such folder.
        """
        folder = self.folder / check_name(name)
        with disk_errors(self.folder):
            if folder.is_symlink():
                folder.unlink()
                return 0
            if not folder.is_dir():
                raise self._missing(name)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            with self.staging() as staged, locked(self.folder):
                folder.rename(staged / name)
                flush_folder(self.folder)
        return size

    def staging(self) -> AbstractContextManager[Path]:
        """Yield a fresh private folder on the disk of the store; see `staging.staging`."""
        return staging(self.folder)

    def _bring(self, source: Path, target: Path, transfer: Transfer, on_progress: OnProgress) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if transfer != "copy":
            try:
                os.link(source, target)
            except OSError:  # another disk, or a file the kernel does not let us link: copied below
                pass
            else:
                return
        copy_file(source, target, on_progress=on_progress)

    def _commit(self, staged: Path, model: StoredModel, *, replace: bool) -> StoredModel:
        """Move the staged files into place, complete with their manifest, by one rename."""
        target = self.folder / model.name
        with disk_errors(self.folder):
            for file in model.files:
                path = staged / file.name
                if path.stat().st_nlink == 1:  # a shared file keeps its owner's rights
                    path.chmod(0o600)
                flush_file(path)
            with new_file(staged / MANIFEST) as descriptor:
                write_all(descriptor, manifest_bytes(model))
                os.fsync(descriptor)
            for folder in {staged, *(staged / file.name for file in model.files)}:
                flush_folder(folder if folder is staged else folder.parent)
            with locked(self.folder):
                there = _model_in(target)
                if there is not None and not replace and there.files != model.files:
                    raise ConfigError(
                        f"there already is another model {model.name} in the store",
                        hint=f"choose another name with --name, or type: agentkit models rm {model.name}",
                    )
                if target.is_symlink():
                    target.unlink()
                elif target.exists():
                    target.rename(staged.parent / "replaced")  # goes when the staging area goes
                staged.rename(target)
                flush_folder(self.folder)
        path = target / model.files[0].name if len(model.files) == 1 else target
        return changed(model, path=path)

    def _folders(self) -> list[Path]:
        try:
            return sorted(
                path for path in self.folder.iterdir() if not path.name.startswith(".") and path.is_dir()
            )
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError as error:
            raise ModelError(f"{self.folder}: permission denied") from error

    def _missing(self, name: str) -> ModelMissingError:
        if name in CATALOGUE:
            return ModelMissingError(
                f"model {name} is not in the store", hint=f"type: agentkit models pull {name}"
            )
        near = difflib.get_close_matches(name, [*CATALOGUE, *(path.name for path in self._folders())], 1)
        return ModelMissingError(
            f"model {name} is not in the store",
            hint=f"did you mean {near[0]}?" if near else "type: agentkit models list",
        )


def _usable(path: Path) -> GGUFHeader:
    """Return the header of a GGUF file the engine could use."""
    header = read_header(path)
    if header.content != "model":
        raise ModelRefusedError(f"{path.name}: a GGUF {header.content[:40]}, not a model")
    if header.parts > 1:
        raise ModelRefusedError(
            f"{path.name}: one of {header.parts} parts of a model",
            hint="merge them first: llama-gguf-split --merge",
        )
    if not header.tensor_count or not header.vocab_size:
        raise ModelRefusedError(f"{path.name}: a model without weights or without a vocabulary")
    return header


def _kind(header: GGUFHeader) -> Kind:
    return "embedding" if "bert" in header.architecture else "chat"


def _file_name(path: Path, name: str) -> str:
    """Return what the file is called in the store: its own name where it has a decent one."""
    decent = path.suffix.lower() == ".gguf" and re.fullmatch(r"\w[\w.+() -]{0,150}", path.stem)
    return f"{path.stem if decent else name}.gguf"


def _model_in(folder: Path) -> StoredModel | None:
    try:
        return read_manifest(folder)
    except ModelError:
        return None  # damaged: to be replaced


def _again(name: str) -> str:
    return f"type: agentkit models {'pull' if name in CATALOGUE else 'rm'} {name}"
