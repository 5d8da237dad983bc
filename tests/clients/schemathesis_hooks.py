# What schemathesis must know of this server: how its own scalars look, and what its error codes mean.
import graphql
import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes
from schemathesis.specs.graphql import validation

durations = st.sampled_from(["P0D", "P7D", "PT90S", "P1DT2H", "P2W", "P400D", "P1Y", "", "7 days"])
schemathesis.graphql.scalar("Duration", durations.map(nodes.String))

instants = st.datetimes().map(lambda at: at.isoformat() + "Z") | st.sampled_from(["2026-01-31T12:30:00+05:30", "10000-01-01T00:00:00Z", "now"])
schemathesis.graphql.scalar("DateTime", instants.map(nodes.String))


def object_of(given):
    return nodes.Object([graphql.ObjectFieldNode(name=graphql.NameNode(value=name), value=value) for name, value in given.items()])


leaves = st.just(nodes.Null) | st.booleans().map(nodes.Boolean) | st.integers().map(nodes.Int) | st.text().map(nodes.String)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3).map(nodes.List), max_leaves=5)
members = st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), values, max_size=3)
schemathesis.graphql.scalar("JSON", values | members.map(object_of))

# An error at a field's path is the server's, says schemathesis, unless its code is known to be the caller's. Everything else stays
# the server's: INTERNAL, whatever has no code, PostHog's failures and the rate limit, which this run must not meet.
validation.CLIENT_ERROR_MARKERS |= {"BAD_CURSOR", "CONFLICT", "FORBIDDEN", "NOT_FOUND", "QUERY_TOO_COMPLEX"}
validation.SERVER_ERROR_MARKERS |= {"INTERNAL"}
