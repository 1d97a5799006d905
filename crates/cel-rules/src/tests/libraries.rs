use super::{check, shown};

#[test]
fn strings_are_cut_searched_and_joined_by_characters() {
    check(&[
        ("'hello'.charAt(1)", "\"e\""),
        ("'héllo'.indexOf('l')", "2"),
        ("'hello'.lastIndexOf('l')", "3"),
        ("'hello'.indexOf('l', 3)", "3"),
        ("'a,b,c'.split(',')", "[\"a\", \"b\", \"c\"]"),
        ("'a,b,c'.split(',', 2)", "[\"a\", \"b,c\"]"),
        ("'abc'.split('')", "[\"a\", \"b\", \"c\"]"),
        ("['a', 'b'].join('-')", "\"a-b\""),
        ("'Hi'.lowerAscii() + 'Hi'.upperAscii() + ' x '.trim()", "\"hiHIx\""),
        ("'aaa'.replace('a', 'b', 2)", "\"bba\""),
        ("'héllo'.substring(1, 3)", "\"él\""),
        ("'abc'.substring(4)", "error: index out of range: 4"),
        (
            "'%s is %d, %.2f, %x, %s'.format(['a', 3, 1.005, 255, [1, {'k': true}]])",
            "\"a is 3, 1.00, ff, [1, {k: true}]\"",
        ),
        ("strings.quote('a\"b')", r#""\"a\\\"b\"""#),
        ("'abc'.matches('^a.c$') && !'abc'.matches('b$')", "true"),
        (
            "'abc'.matches('(')",
            "ERROR: <input>:1:15: invalid matches argument\n | 'abc'.matches('(')\n | ..............^",
        ),
        ("'a1b22'.find('[0-9]+') + 'a1b22'.findAll('[0-9]+')[1]", "\"122\""),
    ]);
}

#[test]
fn lists_are_summed_ordered_and_compared_as_sets() {
    check(&[
        ("[1, 3, 2].sum() + [1, 3, 2].max() + [1, 3, 2].min()", "10"),
        ("[1, 2, 2].isSorted() && !['b', 'a'].isSorted()", "true"),
        ("[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", "2"),
        ("[].sum()", "0"),
        ("[1].filter(x, x > 1).max()", "error: max called on empty list"),
        ("sets.contains([1, 2, 3], [3, 1])", "true"),
        ("sets.equivalent([1, 1, 2], [2, 1])", "true"),
        ("sets.intersects([1], [2])", "false"),
    ]);
}

#[test]
fn quantities_are_exact() {
    check(&[
        ("quantity('1Gi').isGreaterThan(quantity('1000M'))", "true"),
        ("quantity('500m').add(quantity('500m')).asInteger()", "1"),
        ("quantity('1').sub(2).sign()", "-1"),
        ("quantity('1e3').compareTo(quantity('1k'))", "0"),
        ("quantity('1500m').isInteger()", "false"),
        ("quantity('250m').asApproximateFloat()", "0.25"),
        ("isQuantity('10Gi') && !isQuantity('10GiB') && !isQuantity('')", "true"),
        ("quantity('1n').isLessThan(quantity('2n'))", "true"),
    ]);
}

#[test]
fn addresses_and_urls_are_read_strictly() {
    check(&[
        (
            "isIP('1.2.3.4') && isIP('::1') && !isIP('1.2.3') && !isIP('01.2.3.4') && !isIP('::ffff:1.2.3.4')",
            "true",
        ),
        (
            "ip('127.0.0.1').isLoopback() && ip('fe80::1').isLinkLocalUnicast() && ip('1.1.1.1').isGlobalUnicast()",
            "true",
        ),
        ("ip('::1').family() + ip('1.1.1.1').family()", "10"),
        ("ip.isCanonical('2001:DB8::1')", "false"),
        ("cidr('10.1.2.3/8').masked()", "10.0.0.0/8"),
        (
            "cidr('10.0.0.0/8').containsIP('10.1.1.1') && !cidr('10.0.0.0/8').containsCIDR('10.0.0.0/7')",
            "true",
        ),
        ("cidr('10.0.0.0/8').ip() == ip('10.0.0.0') && cidr('10.0.0.0/8').prefixLength() == 8", "true"),
        ("isCIDR('0.0.0.0/0') && !isCIDR('1.1.1.1') && !isCIDR('1.1.1.1/33')", "true"),
        ("string(ip('::1')) + string(cidr('::/0'))", "\"::1::/0\""),
        ("url('https://u@example.com:80/a%20b?x=1&x=2#f').getHost()", "\"example.com:80\""),
        ("url('https://[::1]:80/a?x=1&x=2').getHostname()", "\"::1\""),
        ("url('https://e.com:80/p').getPort() + url('https://e.com/a b').getEscapedPath()", "\"80/a%20b\""),
        ("url('https://e.com/?x=1&x=%41').getQuery()", "{\"x\": [\"1\", \"A\"]}"),
        (
            "isURL('/abs') && isURL('https://a') && !isURL('a') && !isURL('') && !isURL('https://a:b/')",
            "true",
        ),
    ]);
}

#[test]
fn formats_and_versions_are_known() {
    check(&[
        ("format.dns1123Label().validate('a-b').hasValue()", "false"),
        ("format.named('dns1123Subdomain').value().validate('A').hasValue()", "true"),
        ("format.named('nope').hasValue()", "false"),
        (
            "!format.qualifiedName().validate('a.b/c').hasValue() && format.labelValue().validate('-').hasValue()",
            "true",
        ),
        (
            "semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('1.10.0').isGreaterThan(semver('1.9.9'))",
            "true",
        ),
        ("isSemver('1.0.0') && !isSemver('v1.0') && isSemver('v1.0', true) && !isSemver('01.0.0')", "true"),
        ("semver('1.2.3').major() + semver('1.2.3').patch()", "4"),
    ]);
}

#[test]
fn what_kubernetes_does_not_have_is_not_there() {
    assert!(shown("math.greatest(1, 2)").contains("undeclared reference"));
    assert!(shown("[1].distinct()").contains("undeclared reference to 'distinct'"));
}
