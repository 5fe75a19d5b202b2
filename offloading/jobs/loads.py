"""How much work each instance has: one query, bounded, whatever the backlog.

Of an instance of another installation only that is known which it got from here.
"""

from typing import Any

from offloading.jobs import claims, distribution, statements
from offloading.jobs.distribution import Load
from topology.snapshot import TopologyView

# So many jobs are counted on the instance with the most slots, and in proportion on the others: what is too much to be
# counted looks the same for all then, and one does not get everything for having more slots.
MOST_COUNTED = 1000
_BATCH = 200

# The order keeps the database to the index of exactly these jobs, whatever it believes of how many they are.
_WAITING = """
    SELECT COUNT(*) FROM (
        SELECT 1 FROM offloading_job WHERE state = 'QUEUED' AND not_before IS NULL AND target = %s
        ORDER BY queue, topic, rank_at, id LIMIT %s
    ) AS waiting"""
_RUNNING = """
    SELECT COUNT(*) FROM (
        SELECT 1 FROM offloading_job WHERE state = 'ACTIVE' AND claimed_by = {holder} LIMIT %s
    ) AS running"""
_RUN_OF = "(SELECT runtime_id FROM topology_instance WHERE sling_id = %s)"


def of_view(view: TopologyView) -> dict[str, Load]:
    """Return the load of each instance of `view`, by sling id."""
    slots = {each.sling_id: distribution.announced_slots(each.properties) for each in view.instances}
    most = max(slots.values(), default=1)
    found: dict[str, Load] = {}
    for ids in _batches(list(slots)):
        selects, parameters = [], list[Any]()
        for sling_id in ids:
            limit = max(MOST_COUNTED * slots[sling_id] // most, 1)
            is_here = view.is_local_member(sling_id)
            selects.append(f"SELECT %s, ({_WAITING}), ({_RUNNING.format(holder=_RUN_OF if is_here else '%s')})")
            holder = sling_id if is_here else claims.remote_run(sling_id)
            parameters += [sling_id, sling_id, limit, holder, limit]
        rows = statements.run(" UNION ALL ".join(selects), parameters)
        found |= {sling_id: Load(waiting, running, slots[sling_id]) for sling_id, waiting, running in rows}
    return found


def _batches(ids: list[str]) -> list[list[str]]:
    """Divide the ids: SQLite does not put more than 500 queries into one."""
    return [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
