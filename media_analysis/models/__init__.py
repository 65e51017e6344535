"""Every table of the domain; each module holds those of one subject."""

from media_analysis.models.analysis import Analysis, LiveEvent, WorkerState
from media_analysis.models.cards import ResultCard
from media_analysis.models.cases import (
    Case,
    CaseDetails,
    CaseInvitation,
    CaseMedia,
    CaseMember,
    CaseNote,
    CaseRole,
)
from media_analysis.models.custody import CustodyEvent
from media_analysis.models.feedback import Feedback
from media_analysis.models.links import LinkSource
from media_analysis.models.media import DeletionReceipt, Media, ResumableUpload, Submission
from media_analysis.models.notices import Delivery, Notification

__all__ = [
    "Analysis",
    "Case",
    "CaseDetails",
    "CaseInvitation",
    "CaseMedia",
    "CaseMember",
    "CaseNote",
    "CaseRole",
    "CustodyEvent",
    "DeletionReceipt",
    "Delivery",
    "Feedback",
    "LinkSource",
    "LiveEvent",
    "Media",
    "Notification",
    "ResultCard",
    "ResumableUpload",
    "Submission",
    "WorkerState",
]
