"""Component `refuse`: the branch of a closed gate, which ends the run."""

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def refuse(failure: str, documents: dsl.Input[dsl.HTML]):
    """Fail with the name of the expectation that was not met; the documents show what was found.

    Args:
        failure: Which expectation was not met.
        documents: What was expected, and what was found."""
    raise SystemExit(f"cavmae validate: {failure}")
