"""YAML that people write by hand, read so that a slip or a bomb is one sentence, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dwplus.errors import InputError

#: A spec is a page of text: bytes of a file, and values in it with every alias written out.
MOST_BYTES, MOST_VALUES = 1_000_000, 20_000
#: Levels of lists and mappings in each other.
DEEPEST = 50


def read_yaml(path: Path, what: str) -> Any:
    """The value of a YAML file.

    Parameters
    ----------
    what : a file of the kind, for errors: ``a spec is a YAML file, see pipelines/regions``.

    Raises
    ------
    InputError
        Where it is missing, too large, no YAML, holds a key twice, a day that is no date, aliases of aliases without
        end, or lists nested too deep.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: has {path.stat().st_size:,} bytes; {what}, of at most {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    try:
        _check_depth(text, path)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, loader, path)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML ({' '.join(str(error).split())})") from None
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: holds a value that is none ({' '.join(str(error).split())})") from None


def _check_depth(text: str, path: Path) -> None:
    """Event by event: PyYAML itself needs seconds for thousands of open brackets, and then gives up."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise InputError(f"{path}: is nested more than {DEEPEST} levels deep; a spec has four")


def _check(root: yaml.Node, loader: yaml.SafeLoader, path: Path) -> None:
    """Refuse what would be a traceback, an endless run, or silently lost further on."""
    values = 0
    todo = [(root, 1)]
    while todo:
        node, depth = todo.pop()
        values += 1
        # Aliases are the same node again: one in itself, or a tree of them, ends here too.
        if depth > DEEPEST:
            raise InputError(f"{path}: is nested more than {DEEPEST} levels deep; a spec has four")
        if values > MOST_VALUES:
            raise InputError(f"{path}: holds more than {MOST_VALUES:,} values with its aliases written out; a spec has "
                             "some dozens")
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                    raise InputError(f"{path}: line {key.start_mark.line + 1}: key {key.value!r} is there twice; keep "
                                     "one")
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
                todo += [(key, depth + 1), (value, depth + 1)]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(item, depth + 1) for item in node.value]
        elif isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:timestamp":
            try:
                loader.construct_yaml_timestamp(node)
            except (ValueError, OverflowError) as error:
                raise InputError(f"{path}: line {line}: {node.value} is no date ({error})") from None
