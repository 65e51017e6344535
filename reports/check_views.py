"""The page for everybody who holds a document that says it came from here."""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import SentinelError
from accounts.ids import PUBLIC_ID_PATTERN
from accounts.throttles import ChecksPerAddress, hold_to
from media_analysis.edges import intake_limits, public_page
from reports import issued, seal
from reports.check_uploads import CheckUploadHandler, check_given


# Nobody's right is used here and nothing is changed, so there is nothing to forge; and to look for a token Django would
# have to read the body before the view can say how.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@public_page
def check(request: HttpRequest) -> HttpResponse:
    """The form, what is known of a document's number (``d``), or what a check found. Keeps nothing that it is given."""
    context = {**intake_limits(), "fingerprint": seal.certificate_fingerprint()}
    if request.method == "POST":
        hold_to(ChecksPerAddress, request)
        request.upload_handlers = [CheckUploadHandler(request)]
        try:
            found = check_given(request.FILES.get("file"), request.POST.get("sha256", ""))
        except SentinelError as error:
            told = next(iter(error.errors.values()), [error.text])[0]
            return render(request, "reports/check.html", {**context, "error": told}, status=error.status)
        return render(request, "reports/check.html", {**context, "finding": found})
    if number := request.GET.get("d", ""):
        hold_to(ChecksPerAddress, request)
        document = issued.find_by_number(number) if re.fullmatch(PUBLIC_ID_PATTERN, number) else None
        context |= {"asked_number": True, "document": document}
    return render(request, "reports/check.html", context)


@require_safe
def certificates(request: HttpRequest) -> HttpResponse:
    """For other tools: the certificates of all keys that documents were sealed with here, the present one first."""
    return HttpResponse(
        seal.certificates_pem(),
        content_type="application/x-pem-file",
        headers={"Content-Disposition": 'attachment; filename="sentinel-certificates.pem"'},
    )
