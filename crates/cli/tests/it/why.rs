//! What holds an object, asked in front of a running cluster.

use expect_test::expect;

use crate::fixture::World;

const WEB: &str = "apiVersion: apps.kruise.io/v1beta1
kind: CloneSet
metadata:
  name: web
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  updateStrategy: {rollingUpdate: {partition: 3, maxUnavailable: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: web:1
";

/// Names that follow from random identities become letters.
pub(crate) fn stable(text: &str) -> String {
    let mut out = text.to_owned();
    let mut known: Vec<String> = Vec::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        let id = word.strip_prefix("web-").unwrap_or_default();
        let is_id =
            (5..=17).contains(&id.len()) && id.chars().any(|c| c.is_ascii_digit() || !"aeiou".contains(c));
        if is_id && !known.iter().any(|k| k == word) {
            known.push(word.to_owned());
        }
    }
    for (i, name) in known.iter().enumerate() {
        out = out.replace(name.as_str(), &format!("web-#{i}"));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_cloneset_tells_that_its_partition_holds_the_rest() {
    let w = World::cluster("why-partition").await;
    let file = w.file("web.yaml", WEB);
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default
          State:     complete: 4 of 4 pods are available
          Held by:   nothing
    "#]]
    .assert_eq(&stable(&w.out("why cloneset/web").await));
    w.file("web.yaml", &WEB.replace("web:1", "web:2"));
    w.out(&format!("apply -f {file}")).await;
    w.pass(30).await;
    expect![[r#"
        cloneset.apps.kruise.io/web in default
          State:     complete: 4 of 4 pods are available
          Held by:   partition keeps 3 of 4 pods at the revision before web-#0 (Partition, by cloneset.apps.kruise.io/web)
          Can do:    let more pods follow: lower the partition (kubectl edit cloneset.apps.kruise.io/web)
    "#]].assert_eq(&stable(&w.out("why cloneset web").await));
}
