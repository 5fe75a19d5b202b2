"""The job engines that tests/benchmarks/jobs.py compares: how each is started, fed and looked at."""
