"""Every address of the product, app by app."""

from django.contrib.auth import views as auth
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from config import views

urlpatterns = [
    path("", RedirectView.as_view(url="topology/"), name="home"),
    path("login/", auth.LoginView.as_view(template_name="registration/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("", include("topology.connectors.urls")),
    path("", include("offloading.transport.urls")),
    path("topology/", include("topology.urls")),
    path("workflow/", include("workflow.urls")),
    path("assets/", include("dam.urls")),
    path("", include("offloading.urls")),
    path("libs/granite/topology/content/view.html", RedirectView.as_view(pattern_name="topology:cluster-list")),
    path("api/v1/", include("offloading.api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("theme/", views.set_theme, name="theme"),
    path("patterns/", views.patterns, name="patterns"),
]
