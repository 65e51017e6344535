from django.urls import path

from twitterbot import views

app_name = "twitterbot"

urlpatterns = [
    path("", views.accounts, name="accounts"),
    path("<int:twitter_id>/leave/", views.leave, name="leave"),
]
