"""Names that come when they are asked for, the module names of earlier builds as aliases of today's, the version."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

#: This version; rooms take it from here, for the package itself knows them all. setup.cfg says it too.
VERSION = "0.1.0"

#: Modules of version 0.1.0 by their old name; they answer with a DeprecationWarning until version 0.3.
MOVED = {
    "dwplus._names": "dwplus.runtime.names",
    "dwplus.annotations": "dwplus.scenes.annotated",
    "dwplus.budget": "dwplus.export.budget",
    "dwplus.charts": "dwplus.pages.charts",
    "dwplus.classes": "dwplus.taxonomy.tables",
    "dwplus.cluster": "dwplus.runtime.cluster",
    "dwplus.conformance": "pipelines.conformance",
    "dwplus.console": "dwplus.runtime.console",
    "dwplus.doctor": "pipelines.doctor",
    "dwplus.doctor.checks": "pipelines.doctor",
    "dwplus.doctor.conformance": "pipelines.conformance",
    "dwplus.extras": "dwplus.spec.extras",
    "dwplus.files": "dwplus.runtime.paths",
    "dwplus.files.paths": "dwplus.runtime.paths",
    "dwplus.files.yaml_text": "dwplus.runtime.yaml_text",
    "dwplus.ledger": "dwplus.export.log",
    "dwplus.longitude": "dwplus.grid.longitude",
    "dwplus.outline": "dwplus.pages.outlines",
    "dwplus.page": "dwplus.report.page",
    "dwplus.quantities": "dwplus.spec",
    "dwplus.quantities.extras": "dwplus.spec.extras",
    "dwplus.quantities.radar": "dwplus.spec.radar",
    "dwplus.reasons": "dwplus.errors.reasons",
    "dwplus.report.charts": "dwplus.pages.charts",
    "dwplus.report.outlines": "dwplus.pages.outlines",
    "dwplus.shard_work": "dwplus.export.shard",
    "dwplus.summary": "dwplus.store.summary",
    "dwplus.view": "dwplus.report.view",
    "dwplus.view.maps": "dwplus.report.view.maps",
    "dwplus.view.page": "dwplus.report.view.page",
    "dwplus.view.server": "dwplus.report.view.server",
    "dwplus.view.subject": "dwplus.report.view.subject",
    "dwplus.viz": "dwplus.report.quicklooks",
    "dwplus.yaml_text": "dwplus.runtime.yaml_text",
    "dwplus.zones": "dwplus.grid.zones",
    "model.baselines": "model.networks.baselines",
    "model.claire": "model.networks.claire",
    "model.cloudlulc_net": "model.networks.cloudlulc_net",
    "model.layers": "model.networks.layers",
    "model.ledger": "model.networks.complexity",
    "model.pyramid": "model.networks.pyramid",
    "model.registry": "model.networks.registry",
    "model.specsar_former": "model.networks.specsar_former",
}


def lazy(package: str, table: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that imports a name when it is first asked for.

    Parameters
    ----------
    package : name of the module that gets the function.
    table : for each name, the module it lies in, with ``:`` and the name there where that is another; or the module
        itself, where that ends in the name.
    """
    def get(name: str) -> Any:
        if (where := table.get(name)) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        path, _, there = where.partition(":")
        module = importlib.import_module(path)
        found = module if path == f"{package}.{name}" else getattr(module, there or name)
        setattr(sys.modules[package], name, found)
        return found

    return get


class _Aliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports of an old module name give today's module."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None,
                  ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MOVED:
            return None
        room = any(old.startswith(f"{fullname}.") for old in MOVED)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=room)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} is {new} now; the old name goes with version 0.3", DeprecationWarning, stacklevel=2)
        return _Alias(spec.name, importlib.import_module(new))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: the module it stands for has run."""


class _Alias(ModuleType):
    """Stands for another module: reading and setting a name reaches that one."""

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(name, module.__doc__)
        self.__dict__["_module"] = module

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # today's folder, where its files would be found under old names
            raise AttributeError(name)
        return getattr(self.__dict__["_module"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            setattr(self.__dict__["_module"], name, value)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_module"])


def install() -> None:
    """Let old module names be imported; once a process."""
    if not any(isinstance(finder, _Aliases) for finder in sys.meta_path):
        # Before all others: the old name of a file in a package that moved would be found in today's folder otherwise,
        # and be loaded a second time.
        sys.meta_path.insert(0, _Aliases())
