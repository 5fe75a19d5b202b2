import pytest

from workflow import offload
from workflow.processes import ProcessFailed

BOTH = {
    "offloadingInputIncludeWorkflowPayload": "true",
    "offloadingOutputIncludeWorkflowPayload": "true",
    "offloadingInputIncludeWorkflowModel": "true",
    "offloadingOutputIncludeWorkflowModel": "true",
}


@pytest.mark.parametrize(
    "args, sent, returned",
    [
        ({}, "", ""),
        (BOTH, "/a,/m", "/a,/m"),
        ({"offloadingInputIncludeWorkflowPayload": True}, "/a", ""),
        ({"offloadingInputIncludeWorkflowPayload": "false"}, "", ""),
        ({"offloadingInput": ["/x", " /y "], **BOTH}, "/x,/y,/a,/m", "/a,/m"),
        ({"offloadingOutput": "/x"}, "", "/x"),
        ({"offloadingInput": ["/a", "", "/a"], **BOTH}, "/a,/m", "/a,/m"),
    ],
)
def test_payload_lists_follow_the_arguments(args, sent, returned):
    properties = offload.job_properties(args, workflow_payload="/a", workflow_model="/m")
    assert properties == {"offloading.input.payload": sent, "offloading.output.payload": returned}


def test_generic_step_knows_no_model():
    assert offload.job_properties(BOTH, workflow_payload="/a")["offloading.input.payload"] == "/a"


def test_further_job_properties_are_pairs():
    properties = offload.job_properties({"jobProperties": ["a|1", "b|x|y"]}, workflow_payload="/a")
    assert (properties["a"], properties["b"]) == ("1", "x|y")


@pytest.mark.parametrize("entry", ["a", "|1"])
def test_job_property_that_is_no_pair_is_refused(entry):
    with pytest.raises(ProcessFailed, match="must be written key|value"):
        offload.job_properties({"jobProperties": [entry]}, workflow_payload="/a")
