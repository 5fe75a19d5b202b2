"""An app for the journey about failed jobs: a printer that refuses to print while its tray is empty."""
