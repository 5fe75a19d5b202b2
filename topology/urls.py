"""Addresses of the Topology Browser."""

from django.urls import path

from topology import views

app_name = "topology"
urlpatterns = [
    path("", views.cluster_list, name="cluster-list"),
    path("clusters/<str:cluster_id>/", views.cluster_detail, name="cluster-detail"),
    path("instances/<str:sling_id>/", views.instance_detail, name="instance-detail"),
]
