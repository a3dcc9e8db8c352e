from orchestrator.comfy.graph import Graph, Node
from orchestrator.comfy.rejection import explain, names_file
from tests.unit.comfy.graphs import picture_graph


def refusal(node_id, class_type, *errors):
    return {
        "error": {"message": "failed"},
        "node_errors": {node_id: {"errors": list(errors), "class_type": class_type}},
    }


def error(message, details, input_name):
    return {"type": "t", "message": message, "details": details, "extra_info": {"input_name": input_name}}


def test_node_title_and_input_and_the_backends_words_are_told():
    graph = Graph({"4": Node("KSamplerAdvanced", {}, "Sampler")})
    answer = refusal("4", "KSamplerAdvanced", error("Value 0 smaller than min of 1", "steps", "steps"))
    assert explain(graph, answer) == '"Sampler" (KSamplerAdvanced): input steps: Value 0 smaller than min of 1'


def test_details_that_say_more_than_the_inputs_name_are_added():
    answer = refusal(
        "4", "KSampler", error("Value not in list", "sampler_name: 'nope' not in ['euler']", "sampler_name")
    )
    text = explain(picture_graph(), answer)
    assert text == "\"Sampler\" (KSampler): input sampler_name: Value not in list ('nope' not in ['euler'])"


def test_every_complaint_is_told():
    answer = refusal("4", "KSampler", error("a", "", "x"), error("b", "", "y"))
    assert explain(picture_graph(), answer) == '"Sampler" (KSampler): input x: a; "Sampler" (KSampler): input y: b'


def test_unreadable_answers_still_give_a_text():
    for answer in (None, "text", {}, {"node_errors": []}, {"node_errors": {"1": 3}}, {"error": {}}):
        assert isinstance(explain(picture_graph(), answer), str)


def test_a_long_refusal_is_cut():
    assert len(explain(picture_graph(), refusal("4", "KSampler", error("a" * 5000, "", "x")))) == 2000


def test_a_complaint_about_a_missing_picture_is_recognised():
    answer = refusal(
        "1", "LoadImage", error("Custom validation failed", "image - Invalid: orchestrator/a.png [temp]", "image")
    )
    assert names_file(answer, frozenset({"a.png"}))
    assert not names_file(answer, frozenset({"b.png"}))
