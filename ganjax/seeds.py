"""Seeds of 64 bits: each is another one."""

from typing import Any

from ganjax.errors import UserError

LIMIT = 2**64


def check(name: str, seed: int) -> None:
    """Checks that `seed` has 64 bits.

    Raises:
      UserError: it is negative, or has more.
    """
    if not 0 <= seed < LIMIT:
        raise UserError(f"{name} is {seed}; it must be 0 or more, and below 2^64")


def key(seed: int) -> Any:
    """JAX's random key of a seed below 2^64.

    `jax.random.key` drops all but the lower 32 bits, unless JAX computes in 64; of what has no
    more, this is the same key.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    if seed < 2**32:
        return jax.random.key(seed)
    words = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")
