from __future__ import annotations

from django.contrib.auth import login
from django.http import HttpResponse
from django.urls import reverse_lazy
from django.views.generic import FormView

from accounts.forms import SignUpForm


class SignUpView(FormView[SignUpForm]):
    template_name = "accounts/signup.html"
    form_class = SignUpForm
    success_url = reverse_lazy("home")

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        user = form.save()
        login(self.request, user, backend="accounts.backends.UsernameOrEmailBackend")
        return super().form_valid(form)
