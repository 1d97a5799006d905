//! CEL: lexer, parser, checker, estimate and run, within the budget of a call.

use cel_rules::{Budget, CALL_COST_MAX, Env, Type, Value};

use super::{Target, seeds};
use crate::parts::{split, tree};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "cel",
        run: expression,
        seeds: || {
            seeds(&[
                "self.a == 1 && self.l.all(x, x > 0) || has(self.b)\0{\"a\":1,\"l\":[1,2]}",
                "self.l.map(x, x * 2).filter(y, y > 2).exists_one(z, z == 4) ? 'y' : \"n\"\0{\"l\":[1,2]}",
                "self.s.matches('^a+$') && self.s.split(',').join('-').size() < 10u\0{\"s\":\"a,b\"}",
                "duration('1h') + timestamp('2020-01-01T00:00:00Z') > timestamp(0)",
                "quantity('1Gi').add(quantity('1k')).isGreaterThan(quantity('1'))",
                "ip('1.2.3.4').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
                "url('https://h/p?q').getHost() + string(b'\\x00'.size()) + r'\\d'",
                "optional.of(self).a.orValue(3) + [1,2,3][?1].value()",
                "{'a': 1, 'b': 2}.transformMap(k, v, v + 1)['a'] in [2] || type(1) == int",
                "-9223372036854775808 / -1 + int(1e19) % 0",
                "'%s %d %x'.format(['a', 1, 255]) + semver('1.2.3').major().charAt(0)",
                "sets.contains([1], [1]) && math.greatest(1, 2.0) == 2.0 && self.dyn(1).sum()",
                "cel.bind(v, self.l, v.size() + v.indexOf(1) + v.sum())\0{\"l\":[1]}",
            ])
        },
        words: &[
            "self",
            "oldSelf",
            ".all(",
            ".exists(",
            ".exists_one(",
            ".map(",
            ".filter(",
            "has(",
            "size(",
            " in ",
            "&&",
            "||",
            "?",
            ":",
            "==",
            "!=",
            "<=",
            "+",
            "-",
            "*",
            "/",
            "%",
            "!",
            "[",
            "]",
            "{",
            "}",
            "(",
            ")",
            ",",
            "'",
            "\"",
            "'''",
            "r'",
            "b'",
            "\\u00e9",
            "\\377",
            "0x",
            "1u",
            "1e3",
            "null",
            "true",
            "int(",
            "uint(",
            "double(",
            "string(",
            "bytes(",
            "dyn(",
            "type(",
            "duration('1h')",
            "timestamp('2020-01-01T00:00:00Z')",
            ".matches('a*')",
            ".find(",
            ".findAll(",
            ".split(",
            ".join(",
            ".replace(",
            ".substring(",
            ".format([",
            ".lowerAscii()",
            ".reverse()",
            ".sort()",
            ".distinct()",
            ".flatten(",
            "lists.range(",
            "optional.none()",
            ".orValue(",
            "[?",
            "?.",
            "cel.bind(",
            "quantity('1')",
            "ip('::1')",
            "cidr('::/0')",
            "url('http://a')",
            "semver('1.0.0')",
            "sets.intersects(",
            "math.least(",
            "base64.encode(",
            "format.dns1123Label()",
            "//",
        ],
    }]
}

fn expression(data: &[u8]) {
    let [source, object] = split(data);
    let Ok(source) = std::str::from_utf8(source) else { return };
    let object = tree(object).unwrap_or_default();
    let env = Env::default().with("self", Type::Dyn).with("oldSelf", Type::map(Type::TEXT, Type::Dyn));
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(refused) => return drop(refused.to_string()),
    };
    let _ = (program.result().to_string(), program.cost_max(), program.reads("self"));
    let mut budget = Budget::new(CALL_COST_MAX);
    let values = || [("self", Value::of(&object)), ("oldSelf", Value::of(&object))];
    let first = program.run(&values(), &mut budget);
    let mut again = Budget::new(CALL_COST_MAX);
    let second = program.run(&values(), &mut again);
    assert_eq!(budget.spent(), again.spent(), "a run costs what it cost before");
    assert_eq!(first.is_ok(), second.is_ok());
    if let (Ok(a), Ok(b)) = (&first, &second) {
        assert_eq!(a.type_name(), b.type_name());
    }
}
