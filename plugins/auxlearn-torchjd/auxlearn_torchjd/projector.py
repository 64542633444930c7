"""`NonNegativeProjector`: projections onto the dual cone by non-negative least squares."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd.linalg import DualConeProjector

__all__ = ["NonNegativeProjector"]


class NonNegativeProjector(DualConeProjector):
    r"""What `torchjd.linalg.QuadprogProjector` computes, without quadprog, which is under the GPL.

    For a vector $u$ the projection of $J^\top u$ onto the dual cone of the rows of J is $J^\top v$ with the $v \geq u$
    that minimises $v^\top G v$ ("Jacobian Descent For Multi-Objective Optimization", Quinton, Rey,
    [arXiv 2406.16232](https://arxiv.org/abs/2406.16232), Proposition 1). With $G = R^\top R$ and $v = u + x$ this is
    the non-negative least squares problem $\min_{x \geq 0} \lVert R x + R u \rVert$, which scipy solves exactly. The
    Gramian is normalised and regularised as there.

    Args:
        norm_eps: A Gramian with a trace below this counts as 0: nothing is in conflict.
        reg_eps: Added to the diagonal of the Gramian, whose trace is 1 then.

    Examples:
        >>> import torch
        >>> from auxlearn_torchjd import NonNegativeProjector
        >>> jacobian = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
        >>> weights = NonNegativeProjector()(torch.eye(2), jacobian @ jacobian.T)
        >>> (weights @ jacobian).round(decimals=2).abs()
        tensor([[0.5000, 0.5000],
                [0.0000, 1.0000]])
    """

    def __init__(self, *, norm_eps: float = 1e-4, reg_eps: float = 1e-4) -> None:
        if not (norm_eps >= 0 and reg_eps > 0):
            what = "`norm_eps` should be at least 0 and `reg_eps` above 0"
            raise ValueError(f"Parameters {what}, found {norm_eps} and {reg_eps}.")
        self.norm_eps, self.reg_eps = norm_eps, reg_eps

    def __call__(self, U: Tensor, G: Tensor) -> Tensor:  # noqa: N803 (torchjd's names)
        """Return the weights of the projections.

        Args:
            U: Weights of the vectors to project, [..., m].
            G: The Gramian, [m, m].
        """
        gram = G.detach().cpu().double().numpy()
        trace = gram.trace()
        gram = gram / trace if trace > 0 and trace >= self.norm_eps else np.zeros_like(gram)
        root = np.linalg.cholesky(gram + self.reg_eps * np.eye(len(gram))).T
        wanted = U.detach().cpu().double().numpy()
        made = np.apply_along_axis(lambda u: u + nnls(root, -root @ u)[0], -1, wanted)
        return torch.as_tensor(made, dtype=G.dtype, device=G.device)
