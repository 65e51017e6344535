"""The job: examine one file. The only place where the web application meets torch, and only the worker imports it."""

from __future__ import annotations

import logging

from media_analysis import services
from media_analysis.errors import Code
from media_analysis.progress import AnalysisTaken, ProgressReporter
from ml.contracts import AnalysisError

logger = logging.getLogger(__name__)


def run_analysis(pk: int) -> None:
    """Examine the analysis with this key, unless another worker has it or had it. Safe to deliver more than once."""
    analysis = services.claim_analysis(pk)
    if analysis is None:
        logger.info("Analysis %s is not waiting: nothing to do", pk)
        return
    try:
        with ProgressReporter(analysis) as report_progress:
            result, pictures = examine(analysis, report_progress)
            services.finish_analysis(analysis, result, pictures)
    except AnalysisTaken:
        logger.info("Analysis %s was taken away or deleted: stopped", analysis)
    except AnalysisError as error:
        logger.warning("Analysis %s failed: %s", analysis, error)
        services.fail_analysis(analysis, Code(error.code))
    except Exception:
        logger.exception("Analysis %s broke off on try %s", analysis, analysis.attempts)
        services.release_analysis(analysis, Code.INTERNAL_ERROR)
