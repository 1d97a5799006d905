use serde_json::json;

use super::{about, check, shown};
use crate::{Budget, Env, RunError, Type, Value};

#[test]
fn arithmetic_is_exact_and_says_when_it_cannot_be() {
    check(&[
        ("1 + 2 * 3 - 4 / 2 % 3", "5"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0xFFu + 1u", "256u"),
        ("1.5e3 / 2.0", "750.0"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("1 / 0", "error: division by zero"),
        ("5 % 0", "error: modulus by zero"),
        ("1u - 2u", "error: unsigned integer overflow"),
        ("--5", "5"),
        ("!!true", "true"),
    ]);
}

#[test]
fn numbers_compare_across_types_and_equal_only_within() {
    check(&[
        ("1 < 1.5 && 2u > 1 && 1.0 <= 1", "true"),
        ("dyn(1) == dyn(1.0) && dyn(1) == dyn(1u)", "true"),
        (
            "1 == 1.0",
            "ERROR: <input>:1:3: found no matching overload for '_==_' applied to '(int, double)'\n | 1 == 1.0\n | ..^",
        ),
        ("{1: 'a'}[dyn(1.0)]", "\"a\""),
    ]);
}

#[test]
fn errors_are_absorbed_only_by_what_decides() {
    check(&[
        ("true || 1 / 0 == 1", "true"),
        ("1 / 0 == 1 || true", "true"),
        ("1 / 0 == 1 && false", "false"),
        ("1 / 0 == 1 || false", "error: division by zero"),
        ("[0, 1].exists(x, 1 / x == 1)", "true"),
        ("[0, 2].all(x, 1 / x == 1)", "false"),
        ("[0, 1].all(x, 1 / x == 1)", "error: division by zero"),
        ("true ? 1 : 1 / 0", "1"),
    ]);
}

#[test]
fn macros_walk_lists_and_maps_with_one_variable_or_two() {
    check(&[
        ("[1, 2, 3].all(x, x > 0)", "true"),
        ("[1, 2, 3].exists_one(x, x > 2)", "true"),
        ("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", "[4, 6]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4, 6]"),
        ("{'a': 1, 'b': 2}.all(k, k in ['a', 'b'])", "true"),
        ("{'a': 1, 'b': 2}.map(k, k)", "[\"a\", \"b\"]"),
        ("[5, 6].all(i, v, v == i + 5)", "true"),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"),
        ("['a', 'b'].transformList(i, v, string(i) + v)", "[\"0a\", \"1b\"]"),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10)", "{\"b\": 20}"),
        ("['x'].transformMapEntry(i, v, {v: i})", "{\"x\": 0}"),
        ("[1, 2].existsOne(i, v, i == 0)", "true"),
        ("[[1, 2], [3]].exists(x, x.exists(y, y == 3))", "true"),
        (
            "[1].all(1, true)",
            "ERROR: <input>:1:9: argument must be a simple name\n | [1].all(1, true)\n | ........^",
        ),
        (
            "1.all(x, true)",
            "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | 1.all(x, true)\n | ^",
        ),
    ]);
}

#[test]
fn optional_values_chain() {
    check(&[
        ("object.?name.orValue('b')", "\"a\""),
        ("object.?zz.orValue('b')", "\"b\""),
        ("object.?nested.x.y", "some(1)"),
        ("object.?zz.x.y.hasValue()", "false"),
        ("object.map[?'k']", "some(\"v\")"),
        ("object.list[?9]", "none"),
        ("object.?map['k'].orValue('')", "\"v\""),
        ("optional.of(1).optMap(x, x + 1).value()", "2"),
        ("optional.none().orValue(3)", "3"),
        ("optional.of(1).optFlatMap(x, optional.of(x + 1))", "some(2)"),
        ("optional.ofNonZeroValue(0).hasValue()", "false"),
        ("optional.none().or(optional.of(2)).value()", "2"),
        ("[?object.?name, ?object.?zz]", "[\"a\"]"),
        ("{?'a': object.?name, ?'b': object.?zz}", "{\"a\": \"a\"}"),
        ("has(object.name) && !has(object.zz)", "true"),
        ("optional.none().value()", "error: optional.none() dereference"),
    ]);
}

#[test]
fn what_is_not_there_is_said_by_name() {
    check(&[
        ("object.zz", "error: no such key: zz"),
        ("object.map['q']", "error: no such key: q"),
        ("object.list[3]", "error: index out of bounds: 3"),
        ("object.list[-1]", "error: index out of bounds: -1"),
        ("object.n + 'a'", "error: no such overload"),
        ("object.n.zz", "error: no such overload"),
        ("zz == 1", "ERROR: <input>:1:1: undeclared reference to 'zz' (in container '')\n | zz == 1\n | ^"),
        ("zz(1)", "ERROR: <input>:1:3: undeclared reference to 'zz' (in container '')\n | zz(1)\n | ..^"),
        (
            "'a'.startsWith(1)",
            "ERROR: <input>:1:15: found no matching overload for 'startsWith' applied to 'string.(int)'\n | 'a'.startsWith(1)\n | ..............^",
        ),
        (
            "1 + 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
        ),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("has(object)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(object)\n | ....^"),
    ]);
}

#[test]
fn mistakes_of_grammar_are_placed() {
    let starts = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
    assert_eq!(
        shown("nope("),
        "ERROR: <input>:1:6: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', ')', '.', '-', '!', 'true', 'false', \
         'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | nope(\n | .....^"
    );
    assert_eq!(
        shown("1 +\n"),
        format!("ERROR: <input>:2:1: Syntax error: mismatched input '<EOF>' expecting {starts}\n | \n | ^")
    );
    check(&[
        ("1 2", "ERROR: <input>:1:3: Syntax error: extraneous input '2' expecting <EOF>\n | 1 2\n | ..^"),
        ("a = 1", "ERROR: <input>:1:3: Syntax error: token recognition error at: '='\n | a = 1\n | ..^"),
        ("for", "ERROR: <input>:1:1: reserved identifier: for\n | for\n | ^"),
        ("'a", "ERROR: <input>:1:1: Syntax error: token recognition error at: ''a'\n | 'a\n | ^"),
    ]);
}

#[test]
fn texts_and_octets_are_written_in_all_forms() {
    check(&[
        (r#"'a\n\x41\u0042\101' + "b" + r'\n' + '''x'y'''"#, r#""a\nABAb\\nx'y""#),
        ("b'abc' == bytes('abc')", "true"),
        ("size('äöü') == 3 && size(b'\\xff') == 1", "true"),
    ]);
}

#[test]
fn types_are_values() {
    check(&[
        ("type(object.n) == int && type('a') == string && type(object.list) == list", "true"),
        ("type(null) == null_type", "true"),
        ("type(duration('1s')) == google.protobuf.Duration", "true"),
        (
            "string(1) + string(1.5) + string(true) + string(b'a') + string(duration('90s'))",
            "\"11.5truea90s\"",
        ),
        ("int('12') + int(2.9) + int(3u)", "17"),
        ("double('1.5')", "1.5"),
        ("int('a')", "error: strconv.ParseInt: parsing \"a\": invalid syntax"),
        ("timestamp('2024-01-31T00:00:00Z') + duration('24h')", "2024-02-01T00:00:00Z"),
        ("timestamp('2024-01-02T03:04:05Z').getHours('+02:00')", "5"),
        ("timestamp('2024-01-01T00:00:00Z').getDayOfWeek()", "1"),
        (
            "timestamp('x')",
            "ERROR: <input>:1:11: invalid timestamp argument\n | timestamp('x')\n | ..........^",
        ),
    ]);
}

#[test]
fn an_empty_list_is_a_list_of_whatever_is_wanted() {
    check(&[
        ("(has(object.zz) ? object.zz : []).size()", "0"),
        ("has(object.zz) ? object.list.map(x, x) : []", "[]"),
        ("[] + [1] == [1]", "true"),
        ("{} == {}", "true"),
        ("[].all(x, x > 1)", "true"),
    ]);
}

#[test]
fn fields_of_a_schema_are_typed_escaped_and_may_be_null() {
    let schema = json!({"type": "object", "properties": {
        "a-b": {"type": "string"}, "namespace": {"type": "string"}, "when": {"type": "string", "format": "date-time"},
        "ios": {"x-kubernetes-int-or-string": true}, "n": {"type": "integer", "nullable": true},
        "inner": {"type": "object", "nullable": true, "properties": {"x": {"type": "number"}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "data": {"type": "string", "format": "byte"},
    }});
    let own = json!({"a-b": "x", "namespace": "y", "when": "2024-01-01T00:00:00Z", "ios": "5%", "inner": null, "data": "YWI="});
    for (source, expected) in [
        ("self.a__dash__b + self.__namespace__", "\"xy\""),
        ("self.when.getFullYear()", "2024"),
        ("type(self.ios) == string && self.ios == '5%'", "true"),
        ("type(self.ios) == int ? self.ios > 1 : self.ios.endsWith('%')", "true"),
        ("self.inner == null", "true"),
        ("size(self.data)", "2"),
        ("self.zz == 1", "ERROR: <input>:1:5: undefined field 'zz'\n | self.zz == 1\n | ....^"),
        ("has(self.n)", "false"),
        ("self.n", "error: no such key: n"),
        (
            "self.namespace == 'a'",
            "ERROR: <input>:1:5: undefined field 'namespace'\n | self.namespace == 'a'\n | ....^",
        ),
    ] {
        assert_eq!(about(&schema, source, &own), expected, "{source}");
    }
}

#[test]
fn sets_and_keyed_lists_are_equal_in_any_order() {
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "t": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object",
            "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "o": {"type": "array", "items": {"type": "string"}},
    }});
    let own = json!({"s": ["a", "b"], "t": ["b", "a"], "o": ["b", "a"], "m": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]});
    assert_eq!(about(&schema, "self.s == self.t", &own), "true");
    assert_eq!(about(&schema, "self.o == ['a', 'b']", &own), "false");
    assert_eq!(about(&schema, "self.s + ['b', 'c']", &own), "[\"a\", \"b\", \"c\"]");
    assert_eq!(about(&schema, "(self.m + self.m).size()", &own), "2");
    assert_eq!(
        about(&schema, "self.m == self.m.filter(x, x.k == 'y') + self.m.filter(x, x.k == 'x')", &own),
        "true"
    );
}

#[test]
fn a_spent_budget_stops_everything_and_nothing_absorbs_it() {
    let env = Env::default().with("x", Type::Dyn);
    let many = Value::list((0..1000).map(Value::Int).collect());
    let program = env.compile("x.all(a, x.all(b, x.all(c, a + b + c >= 0))) || true").unwrap();
    let mut budget = Budget::new(100_000);
    assert_eq!(program.run(&[("x", many)], &mut budget).map(|_| ()), Err(RunError::Cost));
    assert_eq!(budget.left(), 0);
}

#[test]
fn what_is_made_is_paid_for_before_it_is_made() {
    let huge = "['aaaaaaaaaaaaaaaa'].map(a, a.replace('a', a)).map(a, a.replace('a', a)).map(a, a.replace('a', a)).map(a, a.replace('a', a))";
    assert_eq!(
        shown(&format!("{huge}.map(a, a.replace('a', a)).size()")),
        "error: operation cancelled: actual cost limit exceeded"
    );
    let doubled = (0..30).fold("[1, 2, 3, 4]".to_owned(), |text, _| format!("[{text}].map(x, x + x)[0]"));
    assert!(shown(&doubled).contains("exceeded"), "{}", shown(&doubled));
    assert!(
        shown(&format!("{}1{}", "(".repeat(5000), ")".repeat(5000))).contains("recursion limit exceeded")
    );
    assert!(shown(&format!("object{}", ".a".repeat(5000))).contains("recursion limit exceeded"));
    assert_eq!(shown(&vec!["true"; 5000].join(" && ")), "true");
}
