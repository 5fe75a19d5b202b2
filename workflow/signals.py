"""News of workflow instances, for whoever shows them.

`workflow_changed` is sent inside the transaction of the change, also at every step, with `workflow_id`, `payload`,
`payload_root` ("" unless the payload is a copy that came from another installation), `state` and `failure_message`.
"""

from django.dispatch import Signal

workflow_changed = Signal()
