"""Where a row has content, and where it is padded to the length of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from batchmix._errors import mix_error
from batchmix._mix import mix_padding
from batchmix._plan import Plan
from batchmix.fields.grids import check_layout


@dataclass(frozen=True)
class PaddingMask:
    """1 where a row has content, 0 where it is padded: attention masks, lengths as masks.

    .. math:: m'_{ic} = \\max_{k:\\, w_{ikc} > 0} m_{p_k(i)c}

    with :math:`w_{ikc}` what is seen of row i itself (k = 0) and of each partner at cell c. A MixUp
    of a short row and a long one is as long as the long one; a CutMix in time takes the mask of
    what it pastes. The dtype stays.

    Args:
      layout: one letter per axis, batch first, such as "NT", or "NHW" for padded images.
      rule: "union" as above; "heavier", the mask of the row that weighs more at that cell, as `Ids`
        does it; "own", the mask of the row itself.

    Raises:
      MixError: another rule; at the call, values that are not 0 or 1 (seen on the host), a shape
        that does not fit.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], box=[], opacity=[0.25, 0.25], axes="", size=())
      >>> mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0]])
      >>> PaddingMask("NT")(mask, plan).tolist()
      [[1, 1, 1, 0], [1, 1, 1, 0]]
      >>> PaddingMask("NT", rule="heavier")(mask, plan).tolist()
      [[1, 1, 0, 0], [1, 1, 1, 0]]

    Differs from: labels count cells, and padding is cells too: half of a row of which half is
    padding still has half of the label.
    """

    layout: str = ""  # is refused, with the reason
    rule: Literal["union", "heavier", "own"] = "union"
    hint: ClassVar[str] = "padding"

    def __post_init__(self) -> None:
        check_layout("PaddingMask", self.layout)
        if self.rule not in ("union", "heavier", "own"):
            raise mix_error(
                "PaddingMask", f"got rule={self.rule!r}.", "It is 'union', 'heavier' or 'own'.",
                "Pass one of the three.",
            )  # fmt: skip

    def __call__(self, value: Any, plan: Plan, other: Any = None) -> Any:
        return mix_padding(value, plan, self.layout, self.rule, other=other)
