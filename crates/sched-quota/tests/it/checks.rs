//! What the webhook refuses, in its words.

use std::collections::BTreeMap;

use api_koord::Amounts;
use api_koord::quota::QuotaWords;
use expect_test::expect;
use sched_quota::check::{Others, by_itself};

use crate::quota;

fn cluster(quotas: &[QuotaWords]) -> BTreeMap<String, QuotaWords> {
    quotas.iter().map(|q| (q.name.clone(), q.clone())).collect()
}

fn parent(name: &str, min: i64, max: i64) -> QuotaWords {
    QuotaWords { is_parent: true, ..quota(name, "", min, max) }
}

#[test]
fn a_quota_by_itself_has_a_minimum_within_its_maximum() {
    let told = |q: QuotaWords| by_itself(&q).unwrap_err();
    assert_eq!(by_itself(&quota("a", "", 1, 2)), Ok(()));
    assert_eq!(told(quota("a", "", 3, 2)), "resourceKey cpu of quota a min 3 > max 2");
    assert_eq!(told(quota("a", "", -1, 2)), "a quota.Spec.Min's value < 0, in dimensions :[cpu]");
    let unnamed = QuotaWords { min: Amounts::from([("gpu", 1)]), ..quota("a", "", 0, 2) };
    assert_eq!(told(unnamed), "resourceKey gpu of quota a is included in min, which is not included in max");
    let used = QuotaWords {
        used: Amounts::from([("cpu", 2500)]),
        strict: vec!["cpu".into()],
        ..quota("a", "", 0, 2)
    };
    assert_eq!(told(used), "resourceKey cpu of quota a max 2 < used 2500m");
}

#[test]
fn a_quota_among_others_has_a_fitting_parent_and_leaves_room_for_its_siblings() {
    let quotas = cluster(&[
        parent("shop", 20, 40),
        QuotaWords { namespaces: vec!["n".into()], ..quota("web", "shop", 15, 40) },
        quota("plain", "", 5, 40),
    ]);
    let others = Others::new(&quotas, &[]);
    let cases = [
        quota("api", "shop", 6, 40),
        quota("api", "none", 1, 40),
        quota("api", "plain", 1, 40),
        QuotaWords {
            max: Amounts::from([("cpu", 1), ("memory", 1)]),
            min: Amounts::default(),
            ..quota("api", "shop", 0, 0)
        },
        QuotaWords { tree: "t".into(), ..quota("api", "shop", 1, 40) },
        QuotaWords { namespaces: vec!["n".into()], ..quota("api", "shop", 1, 40) },
        parent("shop", 14, 40),
        quota("shop", "", 20, 40),
        QuotaWords { tree: "t".into(), ..parent("shop", 20, 40) },
    ];
    let told: Vec<String> = cases.iter().map(|q| others.check(q).unwrap_err() + "\n").collect();
    expect![[r#"
        checkMinQuotaSum all brothers' MinQuota > parent MinQuota, parent: shop
        api has parentName none but not find parentInfo in quotaInfoMap
        api has parentName plain but the parentQuotaInfo's IsParent is false
        failed to check sub and parent group quotaKey, err: checkSubAndParentGroupQuotaKey failed: shop's max keys are not the same with api's
        api tree id is different from parent shop, [t] vs []
        AddQuota quota api's annotation namespace n is already bound to quota web
        checkMinQuotaSum all children's MinQuota > current MinQuota, current: shop
        quota has children, isParent is forbidden to modify as false, quotaName:shop
        shop tree id changed [] vs [t]
    "#]]
    .assert_eq(&told.concat());
    assert_eq!(others.check(&QuotaWords { force: true, ..quota("api", "shop", 6, 40) }), Ok(()));
    assert_eq!(others.check(&quota("api", "shop", 5, 40)), Ok(()));
    let pods = ["p".to_owned()];
    assert_eq!(
        Others::new(&quotas, &pods).check(&parent("plain", 5, 40)).unwrap_err(),
        "quota has bound pods, isParent is forbidden to modify as true, quotaName: plain"
    );
}

#[test]
fn a_quota_with_children_or_pods_is_not_deleted() {
    let quotas = cluster(&[parent("shop", 20, 40), quota("web", "shop", 15, 40)]);
    let told = |name: &str, pods: &[&str]| {
        let pods: Vec<String> = pods.iter().map(|p| (*p).to_owned()).collect();
        Others::new(&quotas, &pods).check_deletion(name).unwrap_err()
    };
    assert_eq!(told("shop", &[]), "delete quota failed, quota shop has 1 child quotas");
    assert_eq!(told("web", &["a", "b", "c"]), "delete quota failed, quota web has 3 child pods: a, b, ...");
    assert_eq!(
        told("koordinator-default-quota", &[]),
        "can not delete quotaGroup :koordinator-default-quota"
    );
    assert_eq!(told("none", &[]), "not found quota:none");
    assert_eq!(Others::new(&quotas, &[]).check_deletion("web"), Ok(()));
}
