//! The tables of OpenKruise's own arithmetic tests, one line per step: what is there, what follows.

use super::*;

/// N, n: at the update revision, available or not. O, o: at an old one. X, x, Y, y: marked for deletion, new or old.
/// P, Q: waiting for the preDelete hook, new or old.
fn census(pods: &str) -> Census {
    let mut census = Census::default();
    for pod in pods.chars() {
        let kind = match pod.to_ascii_uppercase() {
            'X' | 'Y' if pod.is_lowercase() => Kind::ToDeleteUnavailable,
            'X' | 'Y' => Kind::ToDelete,
            'P' | 'Q' => Kind::PreDeleting,
            _ if pod.is_lowercase() => Kind::Unavailable,
            _ => Kind::Available,
        };
        census.add(matches!(pod, 'N' | 'n' | 'X' | 'x' | 'P'), kind);
    }
    census
}

fn share(text: &str) -> Option<IntOrPercent> {
    Some(IntOrPercent::parse_percent(text).unwrap_or_else(|| IntOrPercent::Int(text.parse().unwrap())))
}

/// `replicas partition maxUnavailable maxSurge pods`
fn diffs(line: &str, rules: Rules) -> Diffs {
    let words: Vec<_> = line.split_whitespace().collect();
    let replicas = words[0].parse().unwrap();
    let limits = Limits::resolve(replicas, share(words[1]), share(words[3]), share(words[2]), None, false);
    Diffs::of(&limits, &census(words.get(4).copied().unwrap_or_default()), rules)
}

fn told(d: &Diffs) -> String {
    let fields = [
        ("up", d.up),
        ("up_old", d.up_old),
        ("up_limit", d.up_limit),
        ("down", d.down),
        ("down_old", d.down_old),
        ("delete_ready_limit", d.delete_ready_limit),
        ("surge", d.surge),
        ("surge_old", d.surge_old),
        ("update", d.update),
        ("update_unavailable", d.update_unavailable),
    ];
    let set: Vec<_> = fields.iter().filter(|(_, n)| *n != 0).map(|(name, n)| format!("{name}={n}")).collect();
    set.join(" ")
}

fn check(lines: &str, rules: Rules, expected: expect_test::Expect) {
    let lines = lines.trim().lines().map(str::trim);
    let told: String = lines
        .map(|l| format!("{l:<22} -> {}", told(&diffs(l, rules))).trim_end().to_owned() + "\n")
        .collect();
    expected.assert_eq(&told);
}

const ROLLBACK: Rules = Rules { partition_rollback: true, exclude_pre_deleting: false };

#[test]
fn scaling_and_specified_deletion() {
    check(
        "0 0 1 0
         5 0 1 0
         5 0 1 0 NNNNN
         5 0 1 0 XNNNN
         5 0 1 0 NNNN
         5 0 1 0 XXNNN
         5 0 1 0 XNNN
         5 0 1 0 XNNNn
         4 0 1 0 XXNNN
         4 0 1 0 NNN
         5 0 2 0 xXNNN
         5 0 0 1 XNNNN
         5 0 0 1 XNNNNn
         5 0 0 1 XNNNNN
         3 0 1 0 NNNNN
         3 0 1 0 NNNPP",
        ROLLBACK,
        expect_test::expect![[r#"
            0 0 1 0                ->
            5 0 1 0                -> up=5 up_limit=5
            5 0 1 0 NNNNN          ->
            5 0 1 0 XNNNN          -> delete_ready_limit=1
            5 0 1 0 NNNN           -> up=1 up_limit=1
            5 0 1 0 XXNNN          -> delete_ready_limit=1
            5 0 1 0 XNNN           -> up=1 up_limit=1
            5 0 1 0 XNNNn          ->
            4 0 1 0 XXNNN          -> delete_ready_limit=2
            4 0 1 0 NNN            -> up=1 up_limit=1
            5 0 2 0 xXNNN          -> delete_ready_limit=1
            5 0 0 1 XNNNN          -> up=1 up_limit=1 surge=1
            5 0 0 1 XNNNNn         -> surge=1
            5 0 0 1 XNNNNN         -> delete_ready_limit=1 surge=1
            3 0 1 0 NNNNN          -> down=2 delete_ready_limit=3
            3 0 1 0 NNNPP          -> down=2 delete_ready_limit=1
        "#]],
    );
}

#[test]
fn update_by_partition_and_back() {
    check(
        "5 3 1 0 OOOOO
         5 3 1 0 NOOOO
         5 3 1 0 NNOOO
         5 4 2 0 NNNNO
         5 4 2 0 NNOOO
         5 4 2 0 NOOOO
         4 99% 1 0 OOOO
         4 99% 1 0 NOOO
         4 100% 1 0 OOOO",
        ROLLBACK,
        expect_test::expect![[r#"
            5 3 1 0 OOOOO          -> update=2 update_unavailable=1
            5 3 1 0 NOOOO          -> update=1 update_unavailable=1
            5 3 1 0 NNOOO          ->
            5 4 2 0 NNNNO          -> update=-3 update_unavailable=2
            5 4 2 0 NNOOO          -> update=-1 update_unavailable=2
            5 4 2 0 NOOOO          ->
            4 99% 1 0 OOOO         -> update=1 update_unavailable=1
            4 99% 1 0 NOOO         ->
            4 100% 1 0 OOOO        ->
        "#]],
    );
}

#[test]
fn update_with_surge() {
    check(
        "5 3 1 1 OOOOO
         5 3 1 1 OOOOOn
         5 3 1 1 OOOOnn
         5 3 1 1 OOOONn
         5 3 1 1 OOOOYn
         5 3 1 1 OOOOn
         5 3 1 1 OOONN
         5 99% 3 2 OOOOO
         5 99% 3 2 OOOOOn
         5 99% 40% 30% OOOOO
         5 99% 30% 30% OOOOO
         5 99% 30% 30% OOOOOn",
        ROLLBACK,
        expect_test::expect![[r#"
            5 3 1 1 OOOOO          -> up=1 up_limit=1 surge=1 update=2 update_unavailable=1
            5 3 1 1 OOOOOn         -> surge=1 update=1 update_unavailable=2
            5 3 1 1 OOOOnn         -> down=1 down_old=1
            5 3 1 1 OOOONn         -> down=1 down_old=1 delete_ready_limit=1
            5 3 1 1 OOOOYn         -> delete_ready_limit=1 surge=1 surge_old=1 update=1 update_unavailable=2
            5 3 1 1 OOOOn          -> up=1 up_limit=1 surge=1 update=1 update_unavailable=1
            5 3 1 1 OOONN          ->
            5 99% 3 2 OOOOO        -> up=1 up_limit=1 surge=1 update=1 update_unavailable=3
            5 99% 3 2 OOOOOn       -> down=1 down_old=1 delete_ready_limit=3
            5 99% 40% 30% OOOOO    -> up=1 up_limit=1 surge=1 update=1 update_unavailable=2
            5 99% 30% 30% OOOOO    -> up=1 up_limit=1 surge=1 update=1 update_unavailable=1
            5 99% 30% 30% OOOOOn   -> down=1 down_old=1 delete_ready_limit=1
        "#]],
    );
}

#[test]
fn without_rollback_pods_only_go_forward() {
    check(
        "5 4 2 0 NNNNO
         5 3 1 0 NNNNN
         5 3 1 0 OONNN",
        Rules::default(),
        expect_test::expect![[r#"
            5 4 2 0 NNNNO          ->
            5 3 1 0 NNNNN          ->
            5 3 1 0 OONNN          ->
        "#]],
    );
}

#[test]
fn pods_awaiting_their_hook_may_be_left_out() {
    let rules = Rules { exclude_pre_deleting: true, ..ROLLBACK };
    check(
        "5 0 1 0 NNNPP\n5 0 1 0 NNNNNPP",
        rules,
        expect_test::expect![[r#"
            5 0 1 0 NNNPP          -> up=2 up_limit=2
            5 0 1 0 NNNNNPP        ->
        "#]],
    );
}

#[test]
fn creation_pauses_at_scale_unavailable() {
    let limits = Limits::resolve(10, None, None, share("1"), share("3"), false);
    let diffs = |pods| told(&Diffs::of(&limits, &census(pods), Rules::default()));
    assert_eq!(diffs("NN"), "up=8 up_limit=3");
    assert_eq!(diffs("NNnn"), "up=6 up_limit=1");
    assert_eq!(diffs("NNnnn"), "up=5");
}

#[test]
fn pausing_forbids_surge() {
    let limits = Limits::resolve(10, None, share("50%"), share("25%"), None, true);
    assert_eq!((limits.surge, limits.unavailable), (0, 3));
}
