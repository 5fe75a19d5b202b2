"""An app for the transport's journeys: a consumer that works on the payload of its job."""
