"""The pages of cases. Each parses, calls one service or selector, and answers."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import Code, SentinelError
from media_analysis import cases, selectors
from media_analysis.case_details import FIELDS, case_rows
from media_analysis.cases import Seat
from media_analysis.edges import SignedInRequest, page
from media_analysis.forms import CaseForm, InvitationForm, NoteForm
from media_analysis.models import Case, CaseRole

PAGE_SIZE = 20
FILES_PAGE_SIZE = 50


@require_GET
@page
def listing(request: SignedInRequest) -> HttpResponse:
    context = {
        "page": Paginator(cases.seats_of(request.user), PAGE_SIZE).get_page(request.GET.get("page")),
        "invitations": cases.invitations_to(request.user),
        "roles": dict(CaseRole.choices),
    }
    return render(request, "media_analysis/cases/list.html", context)


@require_http_methods(["GET", "POST"])
@page
def new(request: SignedInRequest) -> HttpResponse:
    form = CaseForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        given = dict(form.case)
        case = cases.open_case(request.user, given.pop("title"), given)
        return redirect("media_analysis:case", public_id=case.public_id)
    context = {"form": form}
    return render(request, "media_analysis/cases/form.html", context, status=400 if form.is_bound else 200)


@require_GET
@page
def show(request: SignedInRequest, public_id: str) -> HttpResponse:
    return _show(request, cases.take_seat(request.user, public_id))


def _show(
    request: SignedInRequest,
    seat: Seat,
    note_form: NoteForm | None = None,
    invitation_form: InvitationForm | None = None,
) -> HttpResponse:
    # Newest first, as all lists with pages: what was just added is on the first.
    entries = Paginator(cases.files_of(seat.case).reverse(), FILES_PAGE_SIZE).get_page(request.GET.get("page"))
    files = cases.show_files(list(entries))
    cases.look_at_files(files, actor=request.user)
    wrong = any(form is not None and form.errors for form in (note_form, invitation_form))
    context = {
        "seat": seat,
        "case": seat.case,
        "rows": case_rows(seat.case),
        "page": entries,
        "files": files,
        "notes": cases.notes_of(seat.case),
        "members": cases.members_of(seat.case),
        "invitations": cases.invitations_of(seat.case) if seat.is_owner else (),
        "roles": [(role.value, role.label) for role in cases.ROLES],
        "note_form": note_form or NoteForm(),
        "invitation_form": invitation_form or InvitationForm(),
    }
    return render(request, "media_analysis/cases/case.html", context, status=400 if wrong else 200)


@require_http_methods(["GET", "POST"])
@page
def edit(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id, CaseRole.OWNER, to_change=True)
    now = {name: getattr(seat.case, name) for name in ("title", *FIELDS)}
    form = CaseForm(request.POST if request.method == "POST" else None, initial=now)
    if form.is_bound and form.is_valid():
        cases.change_case(seat, form.case)
        return redirect("media_analysis:case", public_id=public_id)
    context = {"form": form, "case": seat.case}
    return render(request, "media_analysis/cases/form.html", context, status=400 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
@page
def delete(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id, CaseRole.OWNER)
    if request.method == "GET":
        return render(request, "media_analysis/cases/delete.html", {"case": seat.case})
    cases.delete_case(seat)
    messages.success(request, _("The case “%(title)s” was deleted.") % {"title": seat.case.title})
    return redirect("media_analysis:cases")


@require_POST
@page
def close(request: SignedInRequest, public_id: str) -> HttpResponse:
    cases.set_status(cases.take_seat(request.user, public_id, CaseRole.OWNER), Case.Status.CLOSED)
    messages.success(request, _("The case is closed: nothing in it can be changed until you reopen it."))
    return redirect("media_analysis:case", public_id=public_id)


@require_POST
@page
def reopen(request: SignedInRequest, public_id: str) -> HttpResponse:
    cases.set_status(cases.take_seat(request.user, public_id, CaseRole.OWNER), Case.Status.OPEN)
    messages.success(request, _("The case is open again."))
    return redirect("media_analysis:case", public_id=public_id)


@require_http_methods(["GET", "POST"])
@page
def add_files(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id, CaseRole.EXAMINER, to_change=True)
    if request.method == "POST":
        chosen = request.POST.getlist("media")
        try:
            added = cases.add_media(seat, chosen)
        except SentinelError as error:
            if error.code is not Code.INVALID_FIELD:
                raise
            messages.error(request, error.text)
        else:
            text = ngettext("%(count)d file was added.", "%(count)d files were added.", added)
            messages.success(request, text % {"count": added})
        return redirect("media_analysis:case", public_id=public_id)
    outside = cases.own_files_outside(seat)
    context = {
        "case": seat.case,
        "page": Paginator(outside, FILES_PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "media_analysis/cases/add_files.html", context)


@require_POST
@page
def remove_file(request: SignedInRequest, public_id: str, media_id: str) -> HttpResponse:
    cases.remove_media(request.user, public_id, media_id)
    messages.success(request, _("The file was taken out of the case."))
    if request.POST.get("back") == "custody":
        return redirect("media_analysis:custody", public_id=selectors.get_own_media(request.user, media_id).public_id)
    return redirect("media_analysis:case", public_id=public_id)


@require_POST
@page
def add_note(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id, CaseRole.EXAMINER, to_change=True)
    form = NoteForm(request.POST)
    if form.is_valid():
        try:
            cases.add_note(seat, form.cleaned_data["text"])
        except SentinelError as error:
            form.add_error("text", error.text)
        else:
            messages.success(request, _("The note was added."))
            return redirect("media_analysis:case", public_id=public_id)
    return _show(request, seat, note_form=form)


@require_POST
@page
def invite(request: SignedInRequest, public_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id, CaseRole.OWNER, to_change=True)
    form = InvitationForm(request.POST)
    if form.is_valid():
        try:
            cases.invite(seat, form.cleaned_data["who"], CaseRole(form.cleaned_data["role"]))
        except SentinelError as error:
            form.add_error(None if set(error.errors) - set(form.fields) else next(iter(error.errors)), error.text)
        else:
            messages.success(request, _("The invitation waits to be accepted. Tell them to look at “Cases”."))
            return redirect("media_analysis:case", public_id=public_id)
    return _show(request, seat, invitation_form=form)


@require_POST
@page
def withdraw_invitation(request: SignedInRequest, public_id: str, invitation_id: str) -> HttpResponse:
    cases.withdraw_invitation(cases.take_seat(request.user, public_id, CaseRole.OWNER), invitation_id)
    messages.success(request, _("The invitation is withdrawn."))
    return redirect("media_analysis:case", public_id=public_id)


@require_POST
@page
def accept(request: SignedInRequest, invitation_id: str) -> HttpResponse:
    case = cases.accept_invitation(request.user, invitation_id)
    messages.success(request, _("You are in this case now."))
    return redirect("media_analysis:case", public_id=case.public_id)


@require_POST
@page
def decline(request: SignedInRequest, invitation_id: str) -> HttpResponse:
    cases.decline_invitation(request.user, invitation_id)
    messages.success(request, _("You declined the invitation."))
    return redirect("media_analysis:cases")


@require_POST
@page
def change_role(request: SignedInRequest, public_id: str, user_id: str) -> HttpResponse:
    seat = cases.take_seat(request.user, public_id, CaseRole.OWNER, to_change=True)
    role = request.POST.get("role", "")
    if role not in cases.ROLES:
        raise SentinelError(Code.INVALID_FIELD)
    cases.change_role(seat, user_id, CaseRole(role))
    messages.success(request, _("The role was changed."))
    return redirect("media_analysis:case", public_id=public_id)


@require_POST
@page
def remove_member(request: SignedInRequest, public_id: str, user_id: str) -> HttpResponse:
    """Of the owner, anybody else; of everybody, themselves: then they are out of the case."""
    cases.remove_member(cases.take_seat(request.user, public_id), user_id)
    if user_id == request.user.public_id:
        messages.success(request, _("You left the case."))
        return redirect("media_analysis:cases")
    messages.success(request, _("They are no longer in this case."))
    return redirect("media_analysis:case", public_id=public_id)
