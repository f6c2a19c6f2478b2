"""CAV-MAE under its official parameter names: `CAVMAE` for pretraining, `CAVMAEFT` for fine-tuning.

The two names are loaded when they are first asked for, so that step descriptions can import this package without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cavmae.models.cavmae import CAVMAE
    from cavmae.models.cavmaeft import CAVMAEFT

__all__ = ["CAVMAE", "CAVMAEFT"]


def __getattr__(name: str) -> Any:
    if name == "CAVMAE":
        from cavmae.models.cavmae import CAVMAE

        return CAVMAE
    if name == "CAVMAEFT":
        from cavmae.models.cavmaeft import CAVMAEFT

        return CAVMAEFT
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
