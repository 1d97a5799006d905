//! What a program with kube-rs does, against the cluster of KUBECONFIG: calls, apply, watchers of both kinds, a reflector, finalizers,
//! a controller. Each case is one claim.

mod calls;
mod kit;
mod mirrors;

use std::process::ExitCode;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, Client};
use serde_json::json;

use kit::{Outcome, object, run};

/// Where all of it happens.
pub const NS: &str = "conformance-kube-rs";

async fn prepare(client: &Client) -> Outcome {
    mirrors::forget(client).await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if let Some(old) = namespaces.get_opt(NS).await? {
        namespaces.delete(NS, &DeleteParams::default()).await?;
        let uid = old.metadata.uid.unwrap_or_default();
        await_condition(namespaces.clone(), NS, conditions::is_deleted(&uid)).await?;
    }
    namespaces.create(&PostParams::default(), &object(json!({"metadata": {"name": NS}}))?).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let client = match Client::try_default().await {
        Ok(client) => client,
        Err(e) => {
            println!("FAIL connect\n    {e}\n0 passed, 1 failed");
            return ExitCode::FAILURE;
        }
    };
    if let Err(e) = prepare(&client).await {
        println!("FAIL preparation\n    {e}\n0 passed, 1 failed");
        return ExitCode::FAILURE;
    }
    let mut tally = kit::Tally::default();
    let c = &client;
    run(&mut tally, "calls come back as typed objects", calls::typed(c)).await;
    run(&mut tally, "refusals are statuses with code, reason and details", calls::refusals(c)).await;
    run(&mut tally, "merge and strategic patches do what they are for", calls::patches(c)).await;
    run(&mut tally, "server-side apply owns, conflicts, forces and gives up", calls::apply(c)).await;
    run(&mut tally, "lists come in pages of one moment", calls::pages(c)).await;
    run(&mut tally, "deletions keep their options", calls::deletions(c)).await;
    run(&mut tally, "scale, eviction and logs have doors of their own", calls::doors(c)).await;
    run(&mut tally, "kinds are found by discovery and served to dynamic objects", calls::dynamic(c)).await;
    run(&mut tally, "an event is recorded and counted", calls::events(c)).await;
    run(&mut tally, "a watcher that lists and watches hears everything once", mirrors::listed(c)).await;
    run(&mut tally, "a watcher that streams its list hears the same", mirrors::streamed(c)).await;
    run(&mut tally, "a reflector's store is the same by pages and by stream", mirrors::reflected(c)).await;
    run(&mut tally, "a watch of the past tells all of it or that it is gone", mirrors::forgotten(c)).await;
    run(&mut tally, "a watcher of metadata sees names and labels", mirrors::metadata(c)).await;
    run(&mut tally, "a derived kind lives by its definition", mirrors::derived(c)).await;
    run(&mut tally, "the finalizer helper applies first and cleans up last", mirrors::finalized(c)).await;
    run(
        &mut tally,
        "a controller makes what its objects own, and owners take it along",
        mirrors::controlled(c),
    )
    .await;
    let cleaned = async {
        mirrors::forget(c).await?;
        Api::<Namespace>::all(client.clone()).delete(NS, &DeleteParams::default()).await?;
        Outcome::Ok(())
    };
    if let Err(e) = cleaned.await {
        println!("     not cleaned up: {e}");
    }
    tally.end()
}
