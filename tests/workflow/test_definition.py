import pytest

from workflow import definition
from workflow.definition import ModelInvalid, Step, StepType, Transition

START = Step(StepType.START, "Start", id="a")
WORK = Step(StepType.PROCESS, "Work", {"PROCESS": "some.Process"}, id="b")
END = Step(StepType.END, "End", id="c")
LINE = [Transition("a", "b"), Transition("b", "c")]


def test_steps_in_sequence_get_start_end_and_ids():
    model = definition.in_sequence("/m", "M", [definition.process_step("Work", "some.Process", PROCESS_ARGS="x")])
    assert [(step.id, step.type) for step in model.steps] == [
        ("node0", "START"),
        ("node1", "PROCESS"),
        ("node2", "END"),
    ]
    assert model.first.process == "some.Process"
    assert model.first.metadata["PROCESS_ARGS"] == "x"
    assert model.after(model.first).type is StepType.END


def test_nodes_are_ordered_by_their_transitions():
    model = definition.ordered("/m", "M", [END, WORK, START], LINE)
    assert [step.id for step in model.steps] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "steps, transitions, said",
    [
        ([WORK, END], [Transition("b", "c")], "0 START nodes"),
        ([START, Step(StepType.START, "Again", id="d"), WORK, END], LINE, "2 START nodes"),
        ([START, WORK, END], [Transition("a", "b")], "ends at 'b', before its END"),
        ([START, WORK, END], [*LINE, Transition("a", "c")], "two ways out"),
        ([START, WORK, END], [Transition("a", "x")], "names 'x'; the nodes are 'a', 'b', 'c'"),
        ([START, WORK, END], [Transition("a", "b"), Transition("b", "a")], "in a circle"),
        ([START, WORK, END], [Transition("a", "c")], "no transition leads to: 'b'"),
        ([START, END], [Transition("a", "c")], "no step between"),
        ([START, Step(StepType.PROCESS, "Work", id="b"), END], LINE, "names no process"),
        (
            [START, Step(StepType.EXTERNAL_PROCESS, "W", {"EXTERNAL_PROCESS": "p", "period": "soon"}, id="b"), END],
            LINE,
            "period is 'soon'",
        ),
    ],
)
def test_model_that_is_no_line_is_refused_with_its_fault(steps, transitions, said):
    with pytest.raises(ModelInvalid, match=said):
        definition.ordered("/m", "M", steps, transitions)


def test_model_without_steps_is_refused():
    with pytest.raises(ModelInvalid, match="no step"):
        definition.in_sequence("/m", "M", [])


def test_step_type_that_cannot_run_is_refused_by_name():
    with pytest.raises(ModelInvalid, match="'OR_SPLIT'; this engine runs START, PROCESS, EXTERNAL_PROCESS, END"):
        definition.step_type("/m", "node1", "OR_SPLIT")


def test_unknown_node_is_refused_with_the_known_ones():
    model = definition.ordered("/m", "M", [START, WORK, END], LINE)
    with pytest.raises(ModelInvalid, match="no node 'z'; it has 'a', 'b', 'c'"):
        model.step("z")


def test_model_survives_being_plain_data():
    model = definition.in_sequence("/m", "M", [definition.external_step("Wait", "some.External", period=7)])
    assert definition.from_json(definition.to_json(model)) == model


def test_external_step_says_how_long_it_may_take():
    step = definition.external_step("Wait", "p", period="10", timeout=60, advanceOnTimeout="true")
    assert (step.period_seconds, step.timeout_seconds, step.advances_on_timeout) == (10, 60, True)
    assert definition.external_step("Wait", "p").timeout_seconds == 3600
