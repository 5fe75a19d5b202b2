"""An app that takes the fence out of `RunningJob.apply`: for the test that shows that its absence would be noticed."""
