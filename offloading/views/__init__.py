"""The screens of offloading: topics, instances, jobs, replication; and the address that Granite's clients know."""
