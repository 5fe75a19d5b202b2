"""An app for the journeys: a consumer whose every start and every effect can be counted afterwards."""
