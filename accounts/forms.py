"""The rules for accounts, for pages and API alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm, PasswordChangeForm, SetPasswordForm
from django.utils.translation import gettext_lazy as _

from accounts import names
from accounts.models import User
from accounts.texts import clean_text

# The codes of "somebody else has this"; the second is what Django's own check says.
TAKEN = {"already_exists", "unique"}


class LanguageField(forms.ChoiceField):
    """One of the site's languages, or none. Hidden where there is nothing to choose."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            required=False,
            label=_("Language"),
            choices=lambda: [("", _("As your browser asks for")), *settings.LANGUAGES],
            **options,
        )

    def hide_if_alone(self) -> None:
        if len(settings.LANGUAGES) < 2:
            self.widget = forms.HiddenInput()


class NewPasswordInput(forms.PasswordInput):
    """Below it stands which of the rules are met while somebody types."""

    has_rules = True


class SignUpForm(BaseUserCreationForm[User]):
    """A new account. The e-mail address is needed to get back in after a lost password."""

    username = forms.CharField(
        label=_("User name"),
        max_length=names.MAX_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )
    language = LanguageField()

    class Meta:
        model = User
        fields = ("username", "email", "language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["language"].hide_if_alone()  # type: ignore[attr-defined]
        self.fields["password1"].widget = NewPasswordInput(attrs=self.fields["password1"].widget.attrs)

    def clean_username(self) -> str:
        """Whether somebody has it, the model says."""
        return names.clean(self.cleaned_data["username"])

    def clean_email(self) -> str:
        return require_free_email(self.cleaned_data["email"])


class ProfileForm(forms.ModelForm[User]):
    """What somebody may change about themselves. A new e-mail address, by which a password can be reset, needs the
    password: `confirm` says whether it is the right one."""

    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )
    language = LanguageField()
    current_password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        help_text=_("Needed only for a new e-mail address."),
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    class Meta:
        model = User
        fields = ("first_name", "last_name", "email", "language")

    def __init__(self, *args: Any, confirm: Callable[[str], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.confirm = confirm
        self.fields["language"].hide_if_alone()  # type: ignore[attr-defined]
        self.fields["first_name"].widget.attrs["autocomplete"] = "given-name"
        self.fields["last_name"].widget.attrs["autocomplete"] = "family-name"

    def clean_first_name(self) -> str:
        return clean_text(self.cleaned_data["first_name"])

    def clean_last_name(self) -> str:
        return clean_text(self.cleaned_data["last_name"])

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        return email if email == self.initial["email"] else require_free_email(email)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        changed = "email" in given and given["email"] != self.initial["email"]
        if changed and not self.confirm(given.get("current_password", "")):
            self.add_error("current_password", WRONG_PASSWORD)
        return given

    def save(self, commit: bool = True) -> User:
        """Only these columns, so that nothing else that happens to the account meanwhile is undone."""
        if commit:
            self.instance.save(update_fields=self.Meta.fields)
        return self.instance


class DeleteAccountForm(forms.Form):
    password = forms.CharField(
        label=_("Your password, to be sure that it is you"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, confirm: Callable[[str], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.confirm = confirm

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self.confirm(password):
            raise forms.ValidationError(WRONG_PASSWORD)
        return password


class LogInForm(AuthenticationForm):
    """Takes the user name or the e-mail address, and says so."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": _("The name or the password is wrong."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("User name or e-mail address")


class CodeForm(forms.Form):
    """A code of an authenticator app, or a recovery code."""

    code = forms.CharField(
        label=_("Code"),
        max_length=40,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false", "autofocus": True}
        ),
    )


class ConfirmForm(forms.Form):
    """Whether somebody who is logged in is still the same person."""

    password = forms.CharField(
        label=_("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


class PasskeyForm(forms.Form):
    """What a browser made or signed, as JSON, and what the passkey shall be called."""

    credential = forms.CharField(max_length=20_000, widget=forms.HiddenInput)
    name = forms.CharField(max_length=60, required=False)


class ChangePasswordForm(PasswordChangeForm):
    """A wrong old password counts as a failed log-in: a stolen session is no place to guess."""

    def __init__(self, *args: Any, confirm: Callable[[str], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.confirm = confirm
        self.fields["new_password1"].widget = NewPasswordInput(attrs=self.fields["new_password1"].widget.attrs)

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        if not self.confirm(password):
            raise forms.ValidationError(WRONG_PASSWORD, code="password_incorrect")
        return password


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """After the link in a mail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].widget = NewPasswordInput(attrs=self.fields["new_password1"].widget.attrs)


WRONG_PASSWORD = _("This is not your password.")


def require_free_email(email: str) -> str:
    """The address as it is kept, in lower case. Raises ValidationError if somebody has it."""
    email = email.lower()
    if User.objects.filter(email=email).exists():
        raise forms.ValidationError(_("There is an account with this e-mail address."), code="already_exists")
    return email
