"""Names for the leaves of a tree."""

from typing import Any

import jax


def named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by path, e.g. networks/generator/params/up_1/kernel, in the tree's order."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
