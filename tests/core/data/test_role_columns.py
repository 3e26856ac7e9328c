"""Which column has which role, and that everything wrong with them is said at once."""

from __future__ import annotations

import datasets
import pytest

from neobert import Roles, UserError
from neobert.data.role_columns import columns_of, prepare_roles
from neobert.data.splits import select_splits
from neobert.roles import mapping_faults, selection_faults
from neobert.served import DatasetKeys

PAIRS = Roles(required=("query", "positive"), optional=("negatives", "teacher_scores"))
LABELLED = Roles(required=("text", "label"))


def rows(**columns):
    return datasets.Dataset.from_dict(columns)


def prepared(data, roles=PAIRS, **columns):
    return prepare_roles(data, roles, columns, label="split 'train'")


def refused(data, roles=PAIRS, **columns):
    with pytest.raises(UserError) as error:
        prepared(data, roles, **columns)
    return str(error.value)


def test_columns_named_like_roles_need_no_words():
    found = prepared(rows(positive=["b"], query=["a"]))
    assert found.rows.column_names == ["query", "positive"]
    assert found.notes == ()


def test_columns_are_mapped_and_the_others_said_to_be_left_out():
    found = prepared(rows(code=["b"], docstring=["a"], module=["m"], id=[1]), query="docstring", positive="code")
    assert found.rows[0] == {"query": "a", "positive": "b"}
    assert found.notes == ("columns: query = docstring, positive = code; left out: module, id",)


@pytest.mark.parametrize("stream", [False, True])
def test_two_columns_may_change_places(stream):
    data = rows(query=["a", "c"], positive=["b", "d"])
    data = data.to_iterable_dataset() if stream else data
    found = prepared(data, query="positive", positive="query").rows
    assert [(row["query"], row["positive"]) for row in found] == [("b", "a"), ("d", "c")]
    assert list(found.features) == ["query", "positive"]


def test_negatives_in_columns_of_their_own_stand_in_number_order():
    names = ("negative_10", "negative_2", "negative")
    data = rows(query=["a"], positive=["b"], **{name: [name] for name in names}, negatives=[["x"]])
    found = prepared(data).rows
    assert columns_of("negatives", found, PAIRS) == ["negatives", "negative", "negative_2", "negative_10"]
    one = prepared(rows(q=["a"], p=["b"], n=["c"]), query="q", positive="p", negatives="n").rows
    assert columns_of("negatives", one, PAIRS) == ["negatives"]


def test_numbers_that_are_no_roles_are_left_out_and_said():
    found = prepared(rows(query=["a"], positive=["b"], id=[1]))
    assert found.notes == ("columns: query = query, positive = positive; left out: id",)


def test_text_of_no_role_is_an_error_that_shows_what_to_write():
    said = refused(rows(docstring=["a"], code=["b"], module=["m"]))
    assert "role query: no column of this name" in said
    assert "role positive: no column of this name" in said
    assert "text of no role: docstring, code, module" in said
    assert "docstring (string), code (string), module (string)" in said
    assert 'role_columns = { query = "docstring", positive = "code" }' in said
    said = refused(rows(query=["a"], positive=["b"], title=["t"]))
    assert "text of no role: title" in said
    assert 'role_columns = { query = "query", positive = "positive" }' in said


def test_everything_wrong_comes_in_one_answer():
    data = rows(question=["a"], answer=[1], scores=[["x"]], hard=[[1.5]])
    said = refused(data, query="qestion", positive="answer", teacher_scores="scores", negatives="hard", anchor="answer")
    for fragment in (
        "role_columns.query: no column 'qestion'; did you mean 'question'?",
        "column 'answer' is int64, role positive takes text",
        "column 'scores' is list of string, role teacher_scores takes lists of numbers",
        "column 'hard' is list of float64, role negatives takes text, or lists of texts",
        "columns.anchor: no role of the datacollator",
        "columns: question (string), answer (int64)",
    ):
        assert fragment in said, said


def test_a_column_has_one_role():
    assert "column 'a' is query already" in refused(rows(a=["x"]), query="a", positive="a")


def test_a_role_that_columns_leaves_out_is_named():
    assert "role positive: columns has no column for it" in refused(rows(a=["x"], b=["y"]), query="a")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.5], "column 'label' is float64, role label takes whole numbers or strings"),
        ([[1]], "column 'label' is list of int64, role label takes whole numbers or strings"),
    ],
)
def test_labels_that_are_none(values, said):
    assert said in refused(rows(text=["a"], label=values), LABELLED)


@pytest.mark.parametrize("values", [[1], ["a"], [True]])
def test_labels_that_are(values):
    prepared(rows(text=["a"], label=values), LABELLED)


def test_a_value_of_another_type_among_texts_is_named():
    rows_of_both = datasets.Dataset.from_list(
        [{"query": "a", "positive": "b"}],
        features=datasets.Features({"query": datasets.Value("string"), "positive": datasets.Json()}),
    )
    assert "role positive takes text" in refused(rows_of_both)


def test_token_ids_beside_texts_are_refused():
    said = refused(rows(query=["a"], positive=[[1, 2]]))
    assert "token ids in positive, and none in query" in said
    found = prepared(rows(query=[[1]], positive=[[2, 3]], negatives=[[[4], [5]]])).rows
    assert found[0] == {"query": [1], "positive": [2, 3], "negatives": [[4], [5]]}


def test_an_empty_dataset():
    assert "is empty" in refused(datasets.Dataset.from_dict({}))


def test_splits_are_of_one_kind():
    def splits(train, held_out, roles):
        return select_splits({"train": train, "eval": held_out}, DatasetKeys(), 0, roles)

    numbers, names = rows(text=["a"], label=[1]), rows(text=["a"], label=["x"])
    with pytest.raises(UserError, match="label is int64 in the training rows, string in the evaluation rows"):
        splits(numbers, names, LABELLED)
    with_scores = rows(query=["a"], positive=["b"], teacher_scores=[[1.0]])
    with pytest.raises(UserError, match="the training rows have teacher_scores, the others have not"):
        splits(with_scores, rows(query=["a"], positive=["b"]), PAIRS)
    with pytest.raises(UserError, match="one has texts and the other token ids"):
        splits(rows(query=["a"], positive=["b"]), rows(query=[[1]], positive=[[2]]), PAIRS)
    found = splits(rows(query=["a"], positive=["b"], negatives=[["c"]]), rows(query=["a"], positive=["b"]), PAIRS)
    assert (list(found.train.features), list(found.eval.features)) == (
        ["query", "positive", "negatives"],
        ["query", "positive"],
    )


def test_rows_reserved_for_evaluation_have_the_roles_too():
    found = select_splits(
        {"train": rows(q=list("abc"), p=list("def"))},
        DatasetKeys(eval_samples=1, role_columns={"query": "q", "positive": "p"}),
        0,
        PAIRS,
    )
    assert (found.train["query"][:], found.eval["positive"][:]) == (["b", "c"], ["d"])
    assert found.notes[1:] == ("columns: query = q, positive = p",)


def test_what_a_recipe_can_be_told_without_data():
    faults = dict(mapping_faults({"qury": "a"}, {"negative": "x", "teacher_scores": "y"}, PAIRS))
    assert "did you mean 'query'?" in faults["columns.qury"]
    assert "did you mean 'negatives'?" in faults["role_prefixes.negative"]
    assert "no text stands in it" in faults["role_prefixes.teacher_scores"]
    assert dict(selection_faults({"query": "a"}, {}, "text", PAIRS)).keys() == {"role_columns.query", "text_column"}
    assert dict(selection_faults({"query": "a"}, {"query": "b"}, None, None)).keys() == {
        "role_columns.query",
        "role_prefixes.query",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"required": ("a b",)}, "a role is a name"),
        ({"required": ("a", "a")}, "stands twice"),
        ({"required": ("label",)}, "none of the required roles holds a text"),
        ({"required": ("a",), "holds": {"a": "texs"}}, "expected one of"),
        ({"required": ("a",), "holds": {"b": "text"}}, "none of the roles"),
        ({"required": ("query",), "holds": {"query": "int"}}, "always holds 'text'"),
        ({"required": ("text", "label"), "apart": ("label",)}, "none of the roles that hold texts"),
        ({"required": ("a",), "copies": 0}, "must be 1 or more"),
    ],
)
def test_roles_that_contradict_each_other(given, said):
    with pytest.raises(ValueError, match=said):
        Roles(**given)


def test_roles_of_a_stranger():
    roles = Roles(
        required=("anchor", "documents"), optional=("weight",), holds={"documents": "texts", "weight": "float"}
    )
    assert (roles.texts, roles.lists, roles.values, roles.kept_apart) == (("anchor",), ("documents",), ("weight",), ())
    assert roles.role_of("document_3") == "documents"
    found = prepared(rows(anchor=["a"], document_1=["b"], document_2=["c"], weight=[1]), roles).rows
    assert columns_of("documents", found, roles) == ["document_1", "document_2"]
