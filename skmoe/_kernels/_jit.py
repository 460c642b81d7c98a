"""The one decorator of every compiled function.

``nogil`` lets threads share the rows, ``cache`` keeps compilation out of all but
the first process, and the reassociation-free subset of fast maths lets LLVM use
fused multiply-adds without licence to drop NaN or infinity, on which the
safeguards of the trainers rely.
"""

from numba import njit

jit = njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "nsz", "arcp"},
)
