"""Component `farewell`: the last task of every run, however it ended."""

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def farewell(
    status: dsl.PipelineTaskFinalStatus,
    pipeline: str,
    run_id: str,
    reports: str,
    page: dsl.Output[dsl.Markdown],
):
    """Say how the run ended: in the log, on a page, and as a file where reports are kept.

    Args:
        pipeline: Name of the pipeline.
        run_id: The run.
        reports: Folder or s3:// where a file about each run is kept; empty for none.

    Returns:
        page: How the run ended.
    """
    from components.ending import report_end

    report_end(status, pipeline, run_id, reports, page.path)
