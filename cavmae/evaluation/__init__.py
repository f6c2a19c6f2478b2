"""The numbers and the report: metrics, retrieval, confidence intervals, curves and one self-contained page."""
