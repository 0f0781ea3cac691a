"""The test server answers HQL as Hibernate does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import omero
import omero.gateway
import omero.model
import omero.sys
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omero.rtypes import rdouble, rint, rlist, rlong

from omero_objects import (
    annotated,
    context,
    dataset,
    dataset_link,
    image,
    key_values,
    projection,
    reference,
    save,
    tag,
)


class Tree:
    """Three datasets of 0, 1 and 3 images, the images with tags; names end with a mark."""

    def __init__(self, gateway: Any) -> None:
        self.gateway = gateway
        self.mark = uuid.uuid4().hex[:12]
        self.datasets = [self._saved(dataset(f"{n} {self.mark}")) for n in "abc"]
        self.images = [self._saved(image(f"{n} {self.mark}")) for n in "ABC"]
        self.tags = [self._saved(tag(f"{n} {self.mark}")) for n in ("x", "y")]
        for parent, children in ((1, [0]), (2, [0, 1, 2])):
            for child in children:
                self._link(dataset_link, self.datasets[parent], self.images[child])
        for number, marks in ((0, [0]), (1, [0, 1])):
            for each in marks:
                self._link(annotated, self.images[number], self.tags[each])

    def _saved(self, made: Any) -> Any:
        return reference(save(self.gateway, made))

    def _link(self, link: Any, parent: Any, child: Any) -> None:
        self._saved(link(parent, child))

    def select(self, query: str, **parameters: Any) -> list[Any]:
        """Return what a query selects; ``:mark`` is the end of all names."""
        return projection(self.gateway, query, mark=f"% {self.mark}", **parameters)

    def find(self, query: str, limit: int | None = None, offset: int = 0) -> list[Any]:
        """Return the objects that a query finds."""
        bound = omero.sys.ParametersI()
        bound.addString("mark", f"% {self.mark}")
        if limit is not None:
            bound.page(offset, limit)
        service = self.gateway.c.sf.getQueryService()
        return list(service.findAllByQuery(query, bound, context(-1)))


@pytest.fixture(scope="module")
def tree(server: Any) -> Iterator[Tree]:
    made = omero.gateway.BlitzGateway(
        "alice", server.password("alice"), host=server.host, port=server.ssl, secure=True
    )
    assert made.connect()
    yield Tree(made)
    made.close()


def names(found: list[Any]) -> list[str]:
    """Return the first letters of the names of objects."""
    return [each.name.val[0] for each in found]


FETCHING = "Dataset d left outer join fetch d.imageLinks where d.name like :mark order by d.name"


def test_fetch_joins_give_a_root_for_every_row(tree: Tree) -> None:
    found = tree.find(f"select d from {FETCHING}")
    assert names(found) == ["a", "b", "c", "c", "c"]
    assert len({id(each) for each in found}) == 3
    assert [each.sizeOfImageLinks() for each in found] == [0, 1, 3, 3, 3]
    assert not found[1].copyImageLinks()[0].child.loaded


def test_distinct_gives_every_root_once(tree: Tree) -> None:
    assert names(tree.find(f"select distinct d from {FETCHING}")) == ["a", "b", "c"]


def test_joins_that_are_not_fetched_leave_collections_out(tree: Tree) -> None:
    found = tree.find("select d from Dataset d join d.imageLinks where d.name like :mark")
    assert sorted(names(found)) == ["b", "c", "c", "c"]
    assert not found[0].imageLinksLoaded


def test_pages_of_fetched_collections_are_of_roots(tree: Tree) -> None:
    assert names(tree.find(f"select d from {FETCHING}", limit=2)) == ["a", "b"]
    assert names(tree.find(f"select d from {FETCHING}", limit=2, offset=1)) == ["b", "c"]


@settings(max_examples=20)
@given(st.integers(0, 6), st.integers(0, 6))
def test_pages_of_rows_are_slices(tree: Tree, limit: int, offset: int) -> None:
    query = "select d from Dataset d join d.imageLinks l where d.name like :mark order by d.name"
    assert names(tree.find(query, limit, offset)) == ["b", "c", "c", "c"][offset : offset + limit]


def test_what_is_fetched_is_loaded_all_the_way(tree: Tree) -> None:
    query = (
        "select d from Dataset d join fetch d.imageLinks l join fetch l.child i "
        "left outer join fetch i.annotationLinks a left outer join fetch a.child "
        "join fetch d.details.owner where d.name = :mark"
    ).replace("= :mark", f"= 'b {tree.mark}'")
    [found] = tree.find(query)
    [link] = found.copyImageLinks()
    [mark] = link.child.copyAnnotationLinks()
    assert mark.child.textValue.val[0] == "x"
    assert found.details.owner.omeName.val == "alice"
    assert not found.details.group.loaded


def test_collections_hold_what_the_conditions_let_through(tree: Tree) -> None:
    query = (
        "select d from Dataset d join fetch d.imageLinks l join fetch l.child i "
        "where d.name like :mark and i.name like 'B %'"
    )
    [found] = tree.find(query)
    assert names([link.child for link in found.copyImageLinks()]) == ["B"]


def test_fetching_for_what_is_not_selected_is_refused(tree: Tree) -> None:
    with pytest.raises(omero.QueryException, match="not present in the select list"):
        tree.find("select l.child from DatasetImageLink l join fetch l.parent")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select count(d) from Dataset d where d.name like :mark", [3]),
        ("select count(*) from Dataset d join d.imageLinks where d.name like :mark", [4]),
        (
            (
                "select count(distinct l.child.id) from DatasetImageLink l "
                "where l.parent.name like :mark"
            ),
            [3],
        ),
        (
            (
                "select d.name, count(l) from Dataset d left join d.imageLinks l "
                "where d.name like :mark group by d.id, d.name order by count(l) desc"
            ),
            "c3 b1 a0",
        ),
        (
            (
                "select d.name, count(l) from Dataset d join d.imageLinks l "
                "where d.name like :mark group by d.name having count(l) > 1"
            ),
            "c3",
        ),
        ("select min(i.name), max(i.name) from Image i where i.name like :mark", "AC"),
        ("select sum(length(i.name)) / count(i) from Image i where i.name like :mark", [14]),
        ("select avg(length(i.name)) from Image i where i.name like :mark", [14.0]),
        ("select max(i.name) from Image i where i.name = 'none such'", [None]),
        (
            (
                "select d.name from Dataset d where d.name like :mark and exists "
                "(select l from DatasetImageLink l where l.parent.id = d.id)"
            ),
            "b c",
        ),
        (
            (
                "select d.name from Dataset d where d.name like :mark and not exists "
                "(from DatasetImageLink l where l.parent = d)"
            ),
            "a",
        ),
        ("select d.name from Dataset d where d.name like :mark and size(d.imageLinks) = 3", "c"),
        ("select d.name from Dataset d where d.name like :mark and d.imageLinks is empty", "a"),
        (
            (
                "select i.name from Image i where i.name like :mark and i.id not in "
                "(select l.parent.id from ImageAnnotationLink l)"
            ),
            "C",
        ),
        (
            (
                "select i.name from Image i where i.name like :mark and exists "
                "(select t from i.annotationLinks l join l.child t where t.textValue like 'y%')"
            ),
            "B",
        ),
        (
            (
                "select i.name, (select count(l) from ImageAnnotationLink l where l.parent = i) "
                "from Image i where i.name like :mark order by i.name"
            ),
            "A1 B2 C0",
        ),
        (
            (
                "select d.name from Dataset d where lower(d.name) like lower(:mark) "
                "and upper(d.name) like 'C%'"
            ),
            "c",
        ),
        ("select substring(d.name, 1, 1) || '!' from Dataset d where d.name like :mark", "a b c"),
        (
            (
                "select case when i.name like 'A%' then 'yes' else 'no' end from Image i "
                "where i.name like :mark order by i.name"
            ),
            ["yes", "no", "no"],
        ),
        (
            (
                "select i.name from Image i where i.name like :mark and i.description is null "
                "and not (i.description = 'x')"
            ),
            [],
        ),
        (
            (
                "select coalesce(i.description, '-') from Image i where i.name like 'A%' "
                "and i.name like :mark"
            ),
            "-",
        ),
        ("select i.name from Image i where i.name like :mark and i.name between 'B' and 'C'", "B"),
        (
            (
                "select a.textValue, index(l) from Image i join i.annotationLinks l join l.child a "
                "where i.name like 'B%' and i.name like :mark order by index(l)"
            ),
            "x0 y1",
        ),
        (
            (
                "select distinct a.textValue from ImageAnnotationLink l join l.child a "
                "where l.parent.name like :mark"
            ),
            "x y",
        ),
        (
            (
                "select i.name from Image i, DatasetImageLink l where l.child.id = i.id "
                "and l.parent.name like :mark and l.parent.name like 'b%'"
            ),
            "A",
        ),
        ("select 7 * 2 + 1 - 4 / 2 from Experimenter e where e.omeName = 'root'", [13]),
        (
            (
                "select e.omeName from Experimenter e where e.omeName in ('root', 'bob') "
                "order by e.omeName desc"
            ),
            "r b",
        ),
        ("select a.class from Annotation a where a.textValue like :mark", ["TagAnnotation"] * 2),
        (
            (
                "select distinct type(a) from Annotation a where a.class = TagAnnotation "
                "and type(a) = TagAnnotation and a.textValue like :mark"
            ),
            ["ome.model.annotations.TagAnnotation"],
        ),
        (
            (
                "select d.details.owner.omeName, d.details.group.name from Dataset d "
                "where d.name like 'a%' and d.name like :mark"
            ),
            [["alice", "annotate"]],
        ),
    ],
)
def test_queries_are_answered(tree: Tree, query: str, expected: Any) -> None:
    found = tree.select(query)
    if isinstance(expected, str):
        rows = [row if isinstance(row, list) else [row] for row in found]
        short = ["".join(str(v)[0] for v in row) for row in rows]
        expected, found = expected.split(" "), short
        if "order by" not in query:
            found = sorted(found)
    assert found == expected


def test_dotted_names_join_and_lose_rows_without(tree: Tree) -> None:
    select = "select i.name from Image i where i.name like :mark"
    assert len(tree.select(select.replace("i.name from", "i.format.id from"))) == 3
    assert tree.select(select.replace("i.name from", "i.format.value from")) == []
    assert tree.select(f"{select} and (i.format.value = 'x' or i.id > 0)") == []
    assert tree.select(f"{select} order by i.format.value") == []
    outer = "select i.name, f.value from Image i left outer join i.format f where i.name like :mark"
    assert [value for _, value in tree.select(outer)] == [None] * 3


def test_maps_are_made_of_named_values(tree: Tree) -> None:
    query = (
        "select new map(d.id as id, d.name as name, d.details.permissions as may) from Dataset d "
        "where d.name like 'a%' and d.name like :mark"
    )
    [found] = tree.select(query)
    assert (found["id"], found["name"]) == (tree.datasets[0].id.val, f"a {tree.mark}")
    assert found["may"]["canAnnotate"] is True
    assert found["may"]["perm"] == "rwra--"


def test_values_are_sent_as_their_types(tree: Tree) -> None:
    service = tree.gateway.c.sf.getQueryService()
    bound = omero.sys.ParametersI().addId(tree.datasets[0].id.val)
    query = "select d, d.id, d.version, d.name, d.details.creationEvent.time from Dataset d "
    [row] = service.projection(query + "where d.id = :id", bound)
    kinds = [type(each).__bases__[0].__name__ for each in row]
    assert kinds == ["RObject", "RLong", "RInt", "RString", "RTime"]
    assert row[0].val.name.val == f"a {tree.mark}"


def test_parameters_are_lists_numbers_and_objects(tree: Tree) -> None:
    ids = rlist([rlong(each.id.val) for each in tree.images[:2]])
    assert tree.select("select i.id from Image i where i.id in (:ids)", ids=ids) == [
        each.id.val for each in tree.images[:2]
    ]
    query = "select l.child.id from DatasetImageLink l where l.parent = :parent"
    parent = omero.rtypes.robject(tree.datasets[1])
    assert tree.select(query, parent=parent) == [tree.images[0].id.val]
    assert tree.select("select i.id from Image i where i.id in (:ids)", ids=rlist([])) == []


def test_pairs_are_looked_for(tree: Tree) -> None:
    pairs = save(tree.gateway, key_values(tree.mark, colour="blue", size="7"))
    query = (
        "select a.id from MapAnnotation a join a.mapValue p "
        "where p.name = :name and p.value = :value and a.ns = :ns"
    )
    found = tree.select(query, ns=tree.mark, name="colour", value="blue")
    assert found == [pairs.id.val]
    assert tree.select(query, ns=tree.mark, name="colour", value="7") == []


def test_properties_of_derived_classes_can_be_asked_for(tree: Tree) -> None:
    roi = omero.model.RoiI()
    for number in range(3):
        shape = omero.model.RectangleI() if number else omero.model.PointI()
        shape.x, shape.theZ = rdouble(number), rint(number)
        roi.addShape(shape)
    number = rlong(save(tree.gateway, roi).id.val)
    query = "select s.theZ from Shape s where s.roi.id = :id and s.width is null order by s.theZ"
    assert tree.select(query, id=number) == [0, 1, 2]
    assert tree.select("select r.x from Rectangle r where r.roi.id = :id", id=number) == [1, 2]
    query = "select s.theZ from Roi r join r.shapes s where r.id = :id and index(s) = 2"
    assert tree.select(query, id=number) == [2]


@pytest.mark.parametrize(
    "query",
    [
        "select d from Datset d",
        "select d.nme from Dataset d",
        "select x from Dataset d",
        "select d from Dataset d where",
        "select d from Dataset d where d.name = :missing",
        "select d from Dataset d where (d.id = 1",
        "select d from Dataset d where d.imageLinks.child.id = 1",
        "select d from Dataset d where d.name = 'open",
        "",
    ],
)
def test_what_is_no_query_is_refused(tree: Tree, query: str) -> None:
    with pytest.raises(omero.QueryException):
        tree.find(query)


def test_one_object_is_found_or_none(tree: Tree) -> None:
    service = tree.gateway.c.sf.getQueryService()
    query = f"select d from Dataset d left join fetch d.imageLinks where d.name like '%{tree.mark}'"
    with pytest.raises(omero.ApiUsageException):
        service.findByQuery(query, None)
    # The same object in several rows is one object.
    assert service.findByQuery(query + " and d.name like 'c%'", None).sizeOfImageLinks() == 3
    assert service.findByQuery(query + " and d.name like 'z%'", None) is None
    assert service.find("Dataset", 2**40) is None
    with pytest.raises(omero.ValidationException):
        service.get("Dataset", 2**40)
    with pytest.raises(omero.ApiUsageException):
        service.findAllByQuery("select d.id from Dataset d where d.id > 0", None)
    assert service.findByString("Dataset", "name", f"a {tree.mark}").id == tree.datasets[0].id
    found = service.findAllByString("Dataset", "name", tree.mark.upper(), False, None)
    assert len(found) == 3
