"""Addresses of the workflow screens."""

from django.urls import path

from workflow import views

app_name = "workflow"
urlpatterns = [
    path("", views.workflow_list, name="workflow-list"),
    # One instance
    path("<uuid:workflow_id>/", views.workflow_detail, name="workflow-detail"),
    path("<uuid:workflow_id>/retry/", views.workflow_retry, name="workflow-retry"),
    path("<uuid:workflow_id>/terminate/", views.workflow_terminate, name="workflow-terminate"),
]
