"""An app with the job that does nothing, and with the watches and profilers that a benchmark may ask for."""
